"""Who evaluates a layer, and at which sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pyro_ugmm.nn.kernels import force_backend, layer_log_density
from pyro_ugmm.nn.kernels.textbook import textbook

__all__ = [
    "BASELINE",
    "FAR",
    "HEADLINE",
    "OURS",
    "TEXTBOOK",
    "Calls",
    "Contender",
    "Size",
    "contenders",
    "make_tensors",
    "sweeps",
]

Size = tuple[int, int, int]
"""Rows, inputs and neurons."""
Calls = dict[str, Callable[[], Any]]
"""What is timed: ``forward``, and ``both`` with the backward."""

HEADLINE = (256, 784, 128)
_LARGE = (4_096, 784, 512)
_SWEEPS = {
    "rows": [(n, 784, 128) for n in (16, 64, 256, 1024)],
    "inputs": [(256, n, 128) for n in (16, 128, 784, 3136)],
    "neurons": [(256, 784, n) for n in (10, 32, 128, 512)],
}
_SMALL = [(1, 2, 1), (1, 10, 3), (8, 4, 3), (32, 8, 8), (16, 16, 16), (64, 32, 8), (150, 4, 8)]
_SMALL += [(2_000, 4, 8), (20_000, 4, 8), (50_000, 2, 4)]
_CUDA_SMALL = [(1, 2, 1), (150, 4, 8), (20_000, 4, 8), (50_000, 2, 4)]
_QUICK = {"rows": [(4, 3, 2), (64, 30, 20)], "small": [(1, 2, 1)]}
FAR = 200.0
_FLOOR_VALUES = 1 << 16


@dataclass(frozen=True)
class Contender:
    """One way to evaluate a layer.

    Attributes:
        name: in words.
        calls: what is timed, of the tensors of a layer.
        sizes: at which it takes part; all if None.
    """

    name: str
    calls: Callable[[list[torch.Tensor]], Calls]
    sizes: tuple[Size, ...] | None = None

    def takes_part(self, size: Size) -> bool:
        """Whether it is measured at a size."""
        return self.sizes is None or size in self.sizes


def make_tensors(size: Size, device: str, offset: float = 0.0) -> list[torch.Tensor]:
    """Rows, means, scales and log weights; the rows are moved by an offset."""
    n_rows, n_inputs, n_neurons = size
    generator = torch.Generator().manual_seed(0)
    shape = (n_neurons, n_inputs)
    x = torch.randn(n_rows, n_inputs, generator=generator) + offset
    loc = torch.randn(shape, generator=generator)
    scale = torch.rand(shape, generator=generator) + 0.5
    log_weight = torch.randn(shape, generator=generator).log_softmax(-1)
    return [tensor.to(device).requires_grad_() for tensor in (x, loc, scale, log_weight)]


def _calls_of(function: Callable[..., torch.Tensor], tensors: list[torch.Tensor]) -> Calls:
    x, loc, *_ = tensors
    grad = torch.ones(len(x), len(loc), device=x.device)

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return function(*tensors)

    def both() -> Any:
        return torch.autograd.grad(function(*tensors), tensors, grad)

    return {"forward": forward, "both": both}


def _ours(tensors: list[torch.Tensor]) -> Calls:
    return _calls_of(layer_log_density, tensors)


def _tiled(tensors: list[torch.Tensor]) -> Calls:
    def tiled(*given: torch.Tensor) -> torch.Tensor:
        with force_backend("tiled"):
            return layer_log_density(*given)

    return _calls_of(tiled, tensors)


def _textbook(tensors: list[torch.Tensor]) -> Calls:
    return _calls_of(textbook, tensors)


def _compiled(tensors: list[torch.Tensor]) -> Calls:
    return _calls_of(torch.compile(textbook, dynamic=False), tensors)


def _linear(tensors: list[torch.Tensor]) -> Calls:
    return _calls_of(torch.nn.functional.linear, tensors[:2])


def _floor(tensors: list[torch.Tensor]) -> Calls:
    """One exponential for every row, input and neuron in the cache, two with the backward."""
    x, loc, *_ = tensors
    n_terms = len(x) * loc.numel()
    count = max(1, round(n_terms / _FLOOR_VALUES))
    values = torch.rand(min(_FLOOR_VALUES, n_terms)).neg_()
    out = torch.empty_like(values)

    def exponentials(times: int) -> None:
        for _ in range(times * count):
            torch.exp(values, out=out)

    return {"forward": lambda: exponentials(1), "both": lambda: exponentials(2)}


OURS, TEXTBOOK = "ours", "textbook"
# torch.compile takes half a minute a size.
_CONTENDERS = {
    "cpu": (
        Contender(OURS, _ours),
        Contender("ours in plain torch", _tiled),
        Contender(TEXTBOOK, _textbook),
        Contender("torch.compile of the textbook", _compiled, (HEADLINE, _SMALL[0])),
        Contender("nn.Linear", _linear),
        Contender("floor", _floor),
    ),
    "cuda": (
        Contender(OURS, _ours),
        Contender("ours without Triton", _tiled),
        Contender(TEXTBOOK, _textbook),
        Contender("torch.compile of the textbook", _compiled, (HEADLINE, _LARGE)),
        Contender("nn.Linear", _linear),
    ),
}
_SIZES = {
    "cpu": {**_SWEEPS, "small": _SMALL},
    "cuda": {**_SWEEPS, "large": [_LARGE], "small": _CUDA_SMALL},
}
BASELINE = ("nn.Linear", "floor")
"""Whom nobody can beat."""


def contenders(device: str) -> tuple[Contender, ...]:
    """Who takes part on a device."""
    return _CONTENDERS[device]


def sweeps(device: str, *, quick: bool) -> list[tuple[str, Size]]:
    """What is measured on a device: the sweep, or the group, and the size."""
    sizes = _QUICK if quick else _SIZES[device]
    return [(name, size) for name, group in sizes.items() for size in group]
