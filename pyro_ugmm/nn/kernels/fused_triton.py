"""Triton's kernels of the layer's log-density. Imported only where Triton is.

Every program of a grid holds a block of (rows, neurons, inputs) in registers, and walks along the
dimension that is summed over. Where there are too few programs to fill a GPU, several share a sum,
each with a slot of its own; nothing is added by two programs, so results do not vary.
"""

import triton
import triton.language as tl
from torch import Tensor

from .kernel import Gradients, Terms

__all__ = ["backward", "forward"]

_WIDEST = 16  # neurons or inputs
_TERMS = 4096  # of a program at once
_PROGRAMS = 1024  # several for each multiprocessor


@triton.jit
def _places(i, j, n_j):
    return i[:, None].to(tl.int64) * n_j + j[None, :]


@triton.jit
def _load(pointer, i, j, n_i, n_j, fill):
    """A block of a matrix ``(n_i, n_j)``; what lies outside is ``fill``."""
    inside = (i < n_i)[:, None] & (j < n_j)[None, :]
    return tl.load(pointer + _places(i, j, n_j), mask=inside, other=fill)


@triton.jit
def _store(pointer, block, i, j, n_i, n_j):
    inside = (i < n_i)[:, None] & (j < n_j)[None, :]
    tl.store(pointer + _places(i, j, n_j), block, mask=inside)


@triton.jit
def _terms(x, loc, inverse, a, OMIT: tl.constexpr):
    """Deviations in standard units and exponents, ``(rows, neurons, inputs)``."""
    x = x[:, None, :]
    u = (x - loc[None, :, :]) * inverse[None, :, :]
    if OMIT:
        missing = x != x
        u = tl.where(missing, 0.0, u)
        return u, tl.where(missing, float("-inf"), a[None, :, :] - 0.5 * u * u)
    return u, a[None, :, :] - 0.5 * u * u


@triton.jit
def _forward(
    x_pointer,
    loc_pointer,
    inverse_pointer,
    a_pointer,
    out_pointer,
    x_apart,
    n_rows,
    n_neurons,
    n_inputs,
    OMIT: tl.constexpr,
    ROWS: tl.constexpr,
    NEURONS: tl.constexpr,
    INPUTS: tl.constexpr,
):
    n_blocks = tl.cdiv(n_rows, ROWS)
    set = (tl.program_id(0) // n_blocks).to(tl.int64)
    n = tl.program_id(0) % n_blocks * ROWS + tl.arange(0, ROWS)
    j = tl.program_id(1) * NEURONS + tl.arange(0, NEURONS)
    first = set * n_neurons * n_inputs
    top = tl.full((ROWS, NEURONS), float("-inf"), out_pointer.dtype.element_ty)
    total = tl.zeros((ROWS, NEURONS), out_pointer.dtype.element_ty)
    for start in range(0, n_inputs, INPUTS):
        k = start + tl.arange(0, INPUTS)
        x = _load(x_pointer + set * x_apart, n, k, n_rows, n_inputs, 0.0)
        loc = _load(loc_pointer + first, j, k, n_neurons, n_inputs, 0.0)
        inverse = _load(inverse_pointer + first, j, k, n_neurons, n_inputs, 0.0)
        a = _load(a_pointer + first, j, k, n_neurons, n_inputs, float("-inf"))
        _, exponent = _terms(x, loc, inverse, a, OMIT)
        higher = tl.maximum(top, tl.max(exponent, 2))
        held = tl.where(higher == float("-inf"), 0.0, higher)
        total = total * tl.exp(top - held) + tl.sum(tl.exp(exponent - held[:, :, None]), 2)
        top = higher
    # NaN among inputs is lost by the maximum, but not by the sum.
    scores = out_pointer + set * n_rows * n_neurons
    _store(scores, top + tl.log(total), n, j, n_rows, n_neurons)


@triton.jit
def _responsibilities(out_pointer, grad_pointer, exponent, n, j, n_rows, n_neurons):
    out = _load(out_pointer, n, j, n_rows, n_neurons, 0.0)
    grad = _load(grad_pointer, n, j, n_rows, n_neurons, 0.0)
    inside = (n < n_rows)[:, None] & (j < n_neurons)[None, :]
    weight = tl.exp(exponent - out[:, :, None])
    return tl.where(inside[:, :, None], grad[:, :, None] * weight, 0.0)


@triton.jit
def _backward_x(
    x_pointer,
    loc_pointer,
    inverse_pointer,
    a_pointer,
    out_pointer,
    grad_pointer,
    grad_x_pointer,
    x_apart,
    n_sets,
    sets_of_slot,
    n_rows,
    n_neurons,
    n_inputs,
    OMIT: tl.constexpr,
    ROWS: tl.constexpr,
    NEURONS: tl.constexpr,
    INPUTS: tl.constexpr,
):
    n_blocks = tl.cdiv(n_rows, ROWS)
    slot = tl.program_id(0) // n_blocks
    n = tl.program_id(0) % n_blocks * ROWS + tl.arange(0, ROWS)
    k = tl.program_id(1) * INPUTS + tl.arange(0, INPUTS)
    total = tl.zeros((ROWS, INPUTS), grad_x_pointer.dtype.element_ty)
    for at in range(slot * sets_of_slot, tl.minimum((slot + 1) * sets_of_slot, n_sets)):
        set = tl.full((), at, tl.int64)
        first, scores = set * n_neurons * n_inputs, set * n_rows * n_neurons
        x = _load(x_pointer + set * x_apart, n, k, n_rows, n_inputs, 0.0)
        for start in range(0, n_neurons, NEURONS):
            j = start + tl.arange(0, NEURONS)
            loc = _load(loc_pointer + first, j, k, n_neurons, n_inputs, 0.0)
            inverse = _load(inverse_pointer + first, j, k, n_neurons, n_inputs, 0.0)
            a = _load(a_pointer + first, j, k, n_neurons, n_inputs, float("-inf"))
            u, exponent = _terms(x, loc, inverse, a, OMIT)
            out, grad = out_pointer + scores, grad_pointer + scores
            r = _responsibilities(out, grad, exponent, n, j, n_rows, n_neurons)
            total -= tl.sum(r * u * inverse[None, :, :], 1)
    rows = grad_x_pointer + slot.to(tl.int64) * n_rows * n_inputs
    _store(rows, total, n, k, n_rows, n_inputs)


@triton.jit
def _backward_parameters(
    x_pointer,
    loc_pointer,
    inverse_pointer,
    a_pointer,
    out_pointer,
    grad_pointer,
    first_pointer,
    second_pointer,
    mass_pointer,
    x_apart,
    n_slots,
    rows_of_slot,
    n_rows,
    n_neurons,
    n_inputs,
    OMIT: tl.constexpr,
    ROWS: tl.constexpr,
    NEURONS: tl.constexpr,
    INPUTS: tl.constexpr,
):
    n_blocks = tl.cdiv(n_neurons, NEURONS)
    slot = (tl.program_id(0) // n_blocks).to(tl.int64)
    set = slot // n_slots
    j = tl.program_id(0) % n_blocks * NEURONS + tl.arange(0, NEURONS)
    k = tl.program_id(1) * INPUTS + tl.arange(0, INPUTS)
    at = set * n_neurons * n_inputs
    loc = _load(loc_pointer + at, j, k, n_neurons, n_inputs, 0.0)
    inverse = _load(inverse_pointer + at, j, k, n_neurons, n_inputs, 0.0)
    a = _load(a_pointer + at, j, k, n_neurons, n_inputs, float("-inf"))
    first = tl.zeros((NEURONS, INPUTS), first_pointer.dtype.element_ty)
    second = tl.zeros((NEURONS, INPUTS), first_pointer.dtype.element_ty)
    mass = tl.zeros((NEURONS, INPUTS), first_pointer.dtype.element_ty)
    row = (tl.program_id(0) // n_blocks) % n_slots * rows_of_slot
    out, grad = out_pointer + set * n_rows * n_neurons, grad_pointer + set * n_rows * n_neurons
    for start in range(row, tl.minimum(row + rows_of_slot, n_rows), ROWS):
        n = start + tl.arange(0, ROWS)
        x = _load(x_pointer + set * x_apart, n, k, n_rows, n_inputs, 0.0)
        u, exponent = _terms(x, loc, inverse, a, OMIT)
        r = _responsibilities(out, grad, exponent, n, j, n_rows, n_neurons)
        mass += tl.sum(r, 0)
        first += tl.sum(r * u, 0)
        second += tl.sum(r * u * u, 0)
    at = slot * n_neurons * n_inputs
    _store(first_pointer + at, first, j, k, n_neurons, n_inputs)
    _store(second_pointer + at, second, j, k, n_neurons, n_inputs)
    _store(mass_pointer + at, mass, j, k, n_neurons, n_inputs)


class _Blocks:
    """How sets, rows, neurons and inputs are shared out among programs."""

    def __init__(self, terms: Terms) -> None:
        self.n_sets, self.n_rows, n_neurons, n_inputs = terms.sizes
        self.is_shared = terms.is_shared
        self.x_apart = 0 if terms.is_shared else self.n_rows * n_inputs
        neurons, inputs = (
            min(_WIDEST, triton.next_power_of_2(size)) for size in (n_neurons, n_inputs)
        )
        self.rows = min(_TERMS // (neurons * inputs), triton.next_power_of_2(self.n_rows))
        self.along_rows = triton.cdiv(self.n_rows, self.rows)
        self.along_neurons = triton.cdiv(n_neurons, neurons)
        self.along_inputs = triton.cdiv(n_inputs, inputs)
        self.constants = {
            "OMIT": terms.omit,
            "ROWS": self.rows,
            "NEURONS": neurons,
            "INPUTS": inputs,
        }

    @property
    def sets_of_slot(self) -> int:
        """How many sets' gradients of the same rows one program adds up."""
        n_programs = self.along_rows * self.along_inputs
        return max(1, self.n_sets * n_programs // _PROGRAMS) if self.is_shared else 1

    @property
    def rows_of_slot(self) -> int:
        """How many rows' gradients of the same parameters one program adds up."""
        n_programs = self.n_sets * self.along_neurons * self.along_inputs
        return max(1, self.along_rows * n_programs // _PROGRAMS) * self.rows


def forward(terms: Terms, out: Tensor) -> None:
    """Writes the scores, ``(S, n, J)``."""
    blocks = _Blocks(terms)
    _forward[blocks.n_sets * blocks.along_rows, blocks.along_neurons](
        *terms[:4], out, blocks.x_apart, *terms.sizes[1:], **blocks.constants
    )


def backward(terms: Terms, out: Tensor, grad: Tensor, wants_x: bool) -> Gradients:
    """Returns the sums that gradients are made of."""
    given, blocks = (*terms[:4], out, grad), _Blocks(terms)
    grad_x = _gradient_of_inputs(given, terms, blocks) if wants_x else None
    n_slots = triton.cdiv(blocks.n_rows, blocks.rows_of_slot)
    sums = terms.loc.new_empty(3, blocks.n_sets, n_slots, *terms.loc.shape[1:])
    grid = blocks.n_sets * n_slots * blocks.along_neurons, blocks.along_inputs
    sizes = blocks.x_apart, n_slots, blocks.rows_of_slot, *terms.sizes[1:]
    _backward_parameters[grid](*given, *sums, *sizes, **blocks.constants)
    return Gradients(grad_x, *sums.sum(2).unbind())


def _gradient_of_inputs(given: tuple[Tensor, ...], terms: Terms, blocks: _Blocks) -> Tensor:
    n_slots = triton.cdiv(blocks.n_sets, blocks.sets_of_slot)
    slots = terms.x.new_empty(n_slots, *terms.x.shape[1:])
    grid = n_slots * blocks.along_rows, blocks.along_inputs
    sizes = blocks.x_apart, blocks.n_sets, blocks.sets_of_slot, *terms.sizes[1:]
    _backward_x[grid](*given, slots, *sizes, **blocks.constants)
    return slots.sum(0, keepdim=True) if blocks.is_shared else slots
