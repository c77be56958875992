"""Sums of products of rows by the library in C."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..native import library, open_variant

__all__ = ["add_products"]

_SUFFIX = {torch.float32: "float", torch.float64: "double"}
_SIZES = ("n_components", "n_rows", "n_entries", "n_threads")


class _Call(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in _SIZES]


@cache
def _function(variant: str, dtype: torch.dtype) -> Callable[..., Any]:
    opened = open_variant(variant) if variant else library()[0]
    function = getattr(opened, f"products_{_SUFFIX[dtype]}")
    function.argtypes = [ctypes.POINTER(_Call), *[ctypes.c_void_p] * 5]
    function.restype = None
    return function


def add_products(
    rows: Tensor,
    shares: Tensor,
    weight: Tensor | None,
    least: Tensor,
    sums: Tensor,
    variant: str = "",
) -> None:
    """Adds products of rows ``(B, P)`` to the sums ``(K, P, P)`` of components, of which those
    count whose share ``(K, B)`` is above the least one, ``(K, 1)``, times the rows' weight.
    """
    n_components, n_rows = shares.shape
    call = _Call(n_components, n_rows, rows.shape[1], torch.get_num_threads())
    arrays = rows, shares, weight, least, sums
    pointers = [None if one is None else one.data_ptr() for one in arrays]
    _function(variant, rows.dtype)(call, *pointers)
