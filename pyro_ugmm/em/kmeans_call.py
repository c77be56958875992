"""k-means of many sets of rows in one call of the library in C."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..native import library, open_variant

__all__ = ["cluster_natively"]

_SUFFIX = {torch.float32: "float", torch.float64: "double"}
_SIZES = ("n_problems", "n_clusters", "n_features", "n_trials", "most_iterations", "n_threads")


class _Call(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in _SIZES]


@cache
def _function(variant: str, dtype: torch.dtype) -> Callable[..., Any]:
    opened = open_variant(variant) if variant else library()[0]
    function = getattr(opened, f"kmeans_{_SUFFIX[dtype]}")
    function.argtypes = [ctypes.POINTER(_Call), *[ctypes.c_void_p] * 7]
    return function


def cluster_natively(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    n_rows: Tensor,
    uniform: Tensor,
    most_iterations: int,
    n_threads: int,
    variant: str = "",
) -> Tensor:
    """Returns the labels of the rows of P problems, one after the other, int64.

    Args:
        x: all rows, ``(n, D)``.
        weight: theirs, ``(n,)``.
        offset: where each problem's rows begin, int64, ``(P,)``.
        n_rows: how many they are, int64, ``(P,)``.
        uniform: what chooses the seeds, float64, ``(P, K, n_trials)``.
        most_iterations: at most.
        n_threads: on how many.
        variant: of the library, if not the fastest.
    """
    n_problems, n_clusters, n_trials = uniform.shape
    sizes = n_problems, n_clusters, x.shape[1], n_trials, most_iterations, n_threads
    labels = offset.new_empty(int(n_rows.sum()))
    at = n_rows.cumsum(0) - n_rows
    given = (x.contiguous(), weight.contiguous(), offset, n_rows, at, uniform.contiguous(), labels)
    pointers = [tensor.data_ptr() for tensor in given]
    if not _function(variant, x.dtype)(_Call(*sizes), *pointers):
        raise MemoryError("there is no memory for the centers of clusters")
    return labels
