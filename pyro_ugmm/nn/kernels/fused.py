"""The layer's log-density by Triton, for CUDA."""

import importlib.util
import os
from typing import ClassVar

import torch
from torch import Tensor

from .kernel import Gradients, Kernel, Terms
from .layout import Layout

__all__ = ["Fused"]


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
        return device.type == "cuda"  # the interpreter is for tests, which force it

    def forward(self, terms: Terms, out: Tensor) -> None:
        from . import fused_triton

        with torch.cuda.device_of(terms.x):
            fused_triton.forward(terms, out)

    def backward(self, terms: Terms, out: Tensor, grad: Tensor, wants_x: bool) -> Gradients:
        from . import fused_triton

        with torch.cuda.device_of(terms.x):
            return fused_triton.backward(terms, out, grad, wants_x)
