"""Triton's kernels of the layer's log-density. Imported only where Triton is.

Every program of a grid holds a block of (rows, neurons, inputs) in registers, and walks along the
dimension that is summed over; nothing is added by two programs, so results do not vary.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .kernel import Gradients, Terms

__all__ = ["backward", "forward"]

_ROWS, _NEURONS, _INPUTS = 16, 16, 16


@triton.jit
def _load(pointer, i, j, n_i, n_j, fill):
    """A block of a matrix ``(n_i, n_j)``; what lies outside is ``fill``."""
    inside = (i < n_i)[:, None] & (j < n_j)[None, :]
    return tl.load(pointer + i[:, None] * n_j + j[None, :], mask=inside, other=fill)


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
    n_rows,
    n_neurons,
    n_inputs,
    OMIT: tl.constexpr,
    ROWS: tl.constexpr,
    NEURONS: tl.constexpr,
    INPUTS: tl.constexpr,
):
    n = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    j = tl.program_id(1) * NEURONS + tl.arange(0, NEURONS)
    top = tl.full((ROWS, NEURONS), float("-inf"), out_pointer.dtype.element_ty)
    total = tl.zeros((ROWS, NEURONS), out_pointer.dtype.element_ty)
    for start in range(0, n_inputs, INPUTS):
        k = start + tl.arange(0, INPUTS)
        x = _load(x_pointer, n, k, n_rows, n_inputs, 0.0)
        loc = _load(loc_pointer, j, k, n_neurons, n_inputs, 0.0)
        inverse = _load(inverse_pointer, j, k, n_neurons, n_inputs, 0.0)
        a = _load(a_pointer, j, k, n_neurons, n_inputs, float("-inf"))
        _, exponent = _terms(x, loc, inverse, a, OMIT)
        higher = tl.maximum(top, tl.max(exponent, 2))
        held = tl.where(higher == float("-inf"), 0.0, higher)
        total = total * tl.exp(top - held) + tl.sum(tl.exp(exponent - held[:, :, None]), 2)
        top = higher
    inside = (n < n_rows)[:, None] & (j < n_neurons)[None, :]
    # NaN among inputs is lost by the maximum, but not by the sum.
    tl.store(out_pointer + n[:, None] * n_neurons + j[None, :], top + tl.log(total), mask=inside)


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
    n_rows,
    n_neurons,
    n_inputs,
    OMIT: tl.constexpr,
    ROWS: tl.constexpr,
    NEURONS: tl.constexpr,
    INPUTS: tl.constexpr,
):
    n = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    k = tl.program_id(1) * INPUTS + tl.arange(0, INPUTS)
    x = _load(x_pointer, n, k, n_rows, n_inputs, 0.0)
    total = tl.zeros((ROWS, INPUTS), grad_x_pointer.dtype.element_ty)
    for start in range(0, n_neurons, NEURONS):
        j = start + tl.arange(0, NEURONS)
        loc = _load(loc_pointer, j, k, n_neurons, n_inputs, 0.0)
        inverse = _load(inverse_pointer, j, k, n_neurons, n_inputs, 0.0)
        a = _load(a_pointer, j, k, n_neurons, n_inputs, float("-inf"))
        u, exponent = _terms(x, loc, inverse, a, OMIT)
        r = _responsibilities(out_pointer, grad_pointer, exponent, n, j, n_rows, n_neurons)
        total -= tl.sum(r * u * inverse[None, :, :], 1)
    inside = (n < n_rows)[:, None] & (k < n_inputs)[None, :]
    tl.store(grad_x_pointer + n[:, None] * n_inputs + k[None, :], total, mask=inside)


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
    n_rows,
    n_neurons,
    n_inputs,
    OMIT: tl.constexpr,
    ROWS: tl.constexpr,
    NEURONS: tl.constexpr,
    INPUTS: tl.constexpr,
):
    j = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    k = tl.program_id(1) * INPUTS + tl.arange(0, INPUTS)
    loc = _load(loc_pointer, j, k, n_neurons, n_inputs, 0.0)
    inverse = _load(inverse_pointer, j, k, n_neurons, n_inputs, 0.0)
    a = _load(a_pointer, j, k, n_neurons, n_inputs, float("-inf"))
    first = tl.zeros((NEURONS, INPUTS), first_pointer.dtype.element_ty)
    second = tl.zeros((NEURONS, INPUTS), first_pointer.dtype.element_ty)
    mass = tl.zeros((NEURONS, INPUTS), first_pointer.dtype.element_ty)
    for start in range(0, n_rows, ROWS):
        n = start + tl.arange(0, ROWS)
        x = _load(x_pointer, n, k, n_rows, n_inputs, 0.0)
        u, exponent = _terms(x, loc, inverse, a, OMIT)
        r = _responsibilities(out_pointer, grad_pointer, exponent, n, j, n_rows, n_neurons)
        mass += tl.sum(r, 0)
        first += tl.sum(r * u, 0)
        second += tl.sum(r * u * u, 0)
    inside = (j < n_neurons)[:, None] & (k < n_inputs)[None, :]
    at = j[:, None] * n_inputs + k[None, :]
    tl.store(mass_pointer + at, mass, mask=inside)
    tl.store(first_pointer + at, first, mask=inside)
    tl.store(second_pointer + at, second, mask=inside)


def _blocks(omit: bool) -> dict[str, int | bool]:
    return {"OMIT": omit, "ROWS": _ROWS, "NEURONS": _NEURONS, "INPUTS": _INPUTS}


def forward(terms: Terms) -> Tensor:
    """Returns the scores, ``(n, J)``."""
    *inputs, omit = terms
    sizes = (len(terms.x), *terms.loc.shape)
    out = terms.x.new_empty(sizes[0], sizes[1])
    grid = (triton.cdiv(sizes[0], _ROWS), triton.cdiv(sizes[1], _NEURONS))
    _forward[grid](*inputs, out, *sizes, **_blocks(omit))
    return out


def backward(terms: Terms, out: Tensor, grad: Tensor) -> Gradients:
    """Returns the sums that gradients are made of."""
    *inputs, omit = terms
    given, sizes = (*inputs, out, grad), (len(terms.x), *terms.loc.shape)
    sums = Gradients(*map(torch.empty_like, (terms.x, *[terms.loc] * 3)))
    n_rows, n_neurons, n_inputs = sizes
    blocks = _blocks(omit)
    along_inputs = triton.cdiv(n_inputs, _INPUTS)
    _backward_x[(triton.cdiv(n_rows, _ROWS), along_inputs)](*given, sums.x, *sizes, **blocks)
    grid = (triton.cdiv(n_neurons, _NEURONS), along_inputs)
    _backward_parameters[grid](*given, *sums[1:], *sizes, **blocks)
    return sums
