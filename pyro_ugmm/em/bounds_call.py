"""Joint log densities of the pairs that bounds do not leave out, by the library in C."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..native import library, open_variant

__all__ = ["BoundedPairs", "Moves", "Parameters", "evaluate_pairs"]

_SUFFIX = {torch.float32: "float", torch.float64: "double"}
_SIZES = ("n_restarts", "n_components", "n_features", "n_rows", "n_all", "n_threads")


class _Call(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in _SIZES]


@dataclass(frozen=True, eq=False)
class Parameters:
    """Components ``(S K, ...)``, in their own dtype and contiguous.

    Attributes:
        means: ``(S K, D)``.
        whitener: the inverses of the covariances' Cholesky factors, ``(S K, D, D)``.
        constant: the joint log densities at the means, ``(S K,)``.
        margin: twice the log densities there less the logarithm of the share below rounding.
    """

    means: Tensor
    whitener: Tensor
    constant: Tensor
    margin: Tensor


@dataclass(frozen=True, eq=False)
class Moves:
    """How far components moved, ``(S K,)`` each, float32: a distance is now at least ``nearer``
    times one that is ``shift`` less than before, and at most ``farther`` times one that is more.
    """

    nearer: Tensor
    farther: Tensor
    shift: Tensor


@dataclass(frozen=True, eq=False)
class BoundedPairs:
    """What is known of N rows.

    Attributes:
        least: the least distance of each from each component, ``(S K, N)``, float32.
        most: the most distance of each from the component of its largest joint density,
            ``(S, N)``, float32.
        best: which one of all that is, ``(S, N)``, int32.
    """

    least: Tensor
    most: Tensor
    best: Tensor

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many mixtures, components of all of them, and rows."""
        return len(self.best), *self.least.shape


@cache
def _function(variant: str, dtype: torch.dtype) -> Callable[..., Any]:
    opened = open_variant(variant) if variant else library()[0]
    function = getattr(opened, f"bounds_evaluate_{_SUFFIX[dtype]}")
    function.argtypes = [ctypes.POINTER(_Call), *[ctypes.c_void_p] * 5]
    function.restype = ctypes.c_int64
    return function


def _pointers(of: Parameters | Moves | BoundedPairs, at: int = 0) -> Any:
    addresses = [t.data_ptr() + at * t.itemsize for t in vars(of).values()]
    return (ctypes.c_void_p * len(addresses))(*addresses)


def evaluate_pairs(
    rows: Tensor,
    parameters: Parameters,
    moves: Moves,
    pairs: BoundedPairs,
    at: int,
    out: Tensor,
    variant: str = "",
) -> int:
    """Writes the joint log densities ``(S K, B)`` of contiguous rows ``(B, D)``, from the row
    ``at`` on: minus infinity where bounds show one to be below rounding.

    Bounds move along with the components, in place; of pairs that are evaluated they are known
    anew. Returns how many these are.
    """
    n_restarts, n_components, n_all = pairs.sizes
    sizes = (
        n_restarts,
        n_components // n_restarts,
        rows.shape[1],
        len(rows),
        n_all,
        torch.get_num_threads(),
    )
    n_evaluated = _function(variant, rows.dtype)(
        _Call(*sizes),
        rows.data_ptr(),
        _pointers(parameters),
        _pointers(moves),
        out.data_ptr(),
        _pointers(pairs, at),
    )
    if n_evaluated < 0:
        raise MemoryError("no memory for distances of rows")
    return n_evaluated
