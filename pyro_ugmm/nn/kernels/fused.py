"""The layer's log-density by Triton, for CUDA."""

import importlib.util
import os
from typing import ClassVar

import torch
from torch import Tensor

from .kernel import Gradients, Kernel, Terms
from .layout import Layout

__all__ = ["Fused"]

_FEWEST_COMPONENTS = 512


class Fused(Kernel):
    """One fused kernel forward, two backward; in Triton's interpreter on the CPU too."""

    name: ClassVar[str] = "fused"

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        if importlib.util.find_spec("triton") is None:
            return "Triton is not installed (torch's builds for CUDA bring it)"
        interpreted = device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
        if device.type != "cuda" and not interpreted:
            return f"it is for CUDA, not for {device.type}"
        if dtype not in (torch.float32, torch.float64):
            return f"it is for float32 and float64, not for {dtype}"
        return ""

    def suits(self, device: torch.device, layout: Layout) -> bool:
        # Each block of neurons and inputs has one program, which walks along all rows: of few
        # blocks, most of the GPU has nothing to do. The interpreter is for tests, which force it.
        return device.type == "cuda" and layout.n_neurons * layout.n_inputs >= _FEWEST_COMPONENTS

    def forward(self, terms: Terms) -> Tensor:
        from . import fused_triton

        with torch.cuda.device_of(terms.x):
            return fused_triton.forward(terms)

    def backward(self, terms: Terms, out: Tensor, grad: Tensor) -> Gradients:
        from . import fused_triton

        with torch.cuda.device_of(terms.x):
            return fused_triton.backward(terms, out, grad)
