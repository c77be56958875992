"""The layer's log-density in C."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from .compilation import library
from .kernel import Gradients, Kernel, Terms

__all__ = ["Compiled"]

_TERMS_PER_THREAD = 1 << 15  # fewer do not pay for waking a thread
_SUFFIX = {torch.float32: "float", torch.float64: "double"}


class Compiled(Kernel):
    """One pass in C, on all threads that torch has; about a second to compile, once."""

    name: ClassVar[str] = "compiled"

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        if device.type != "cpu":
            return f"it is for the CPU, not for {device.type}"
        if dtype not in _SUFFIX:
            return f"it is for float32 and float64, not for {dtype}"
        return library()[1]

    @staticmethod
    def _call(name: str, terms: Terms, *more: Tensor) -> int:
        *inputs, omit = terms
        function = getattr(library()[0], f"mixture_layer_{name}_{_SUFFIX[terms.x.dtype]}")
        sizes = (len(terms.x), *terms.loc.shape)
        threads = min(1 + math.prod(sizes) // _TERMS_PER_THREAD, torch.get_num_threads())
        return function(*sizes, omit, threads, *(one.data_ptr() for one in (*inputs, *more)))

    def forward(self, terms: Terms) -> Tensor:
        out = terms.x.new_empty(len(terms.x), len(terms.loc))
        self._call("forward", terms, out)
        return out

    def backward(self, terms: Terms, out: Tensor, grad: Tensor) -> Gradients:
        sums = Gradients(*map(torch.zeros_like, (terms.x, *[terms.loc] * 3)))
        if self._call("backward", terms, out, grad, *sums):
            raise MemoryError("there is no memory for a tile of rows")
        return sums
