"""The layer's log-density in C."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...native import library, open_variant
from .kernel import Gradients, Kernel, Terms

__all__ = ["Compiled"]

_TERMS_PER_THREAD = 1 << 15  # fewer do not pay for waking a thread
_SUFFIX = {torch.float32: "float", torch.float64: "double"}
_SIZES = [*[ctypes.c_ssize_t] * 4, *[ctypes.c_int] * 3]
_N_POINTERS = {"forward": 5, "backward": 10}


@cache
def _function(variant: str, name: str, dtype: torch.dtype) -> Callable[..., Any]:
    opened = open_variant(variant) if variant else library()[0]
    function = getattr(opened, f"mixture_layer_{name}_{_SUFFIX[dtype]}")
    function.argtypes = [*_SIZES, *[ctypes.c_void_p] * _N_POINTERS[name]]
    return function


class Compiled(Kernel):
    """One pass in C, on all threads that torch has; in a variant other than the best, if named."""

    name: ClassVar[str] = "compiled"

    def __init__(self, variant: str = ""):
        self._variant = variant

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        if device.type != "cpu":
            return f"it is for the CPU, not for {device.type}"
        if dtype not in _SUFFIX:
            return f"it is for float32 and float64, not for {dtype}"
        return library()[1]

    def _call(self, name: str, terms: Terms, *more: Tensor | None) -> int:
        n_sets, n_rows, n_neurons, n_inputs = sizes = terms.sizes
        n_terms = n_sets * n_rows * n_neurons * n_inputs
        n_threads = 1
        if n_terms >= _TERMS_PER_THREAD:
            n_threads = min(1 + n_terms // _TERMS_PER_THREAD, torch.get_num_threads())
        return _function(self._variant, name, terms.x.dtype)(
            *sizes,
            terms.is_shared,
            terms.omit,
            n_threads,
            *(None if one is None else one.data_ptr() for one in (*terms[:4], *more)),
        )

    def forward(self, terms: Terms, out: Tensor) -> None:
        self._call("forward", terms, out)

    def backward(self, terms: Terms, out: Tensor, grad: Tensor, wants_x: bool) -> Gradients:
        sums = terms.loc.new_zeros(3, *terms.loc.shape).unbind()
        gradients = Gradients(torch.zeros_like(terms.x) if wants_x else None, *sums)
        if self._call("backward", terms, out, grad, *gradients):
            raise MemoryError("there is no memory for a tile of rows")
        return gradients
