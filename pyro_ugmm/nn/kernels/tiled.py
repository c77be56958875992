"""The layer's log-density in plain torch, over tiles of sets and rows that stay in the cache."""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from .kernel import Gradients, Kernel, Terms
from .layout import Layout

__all__ = ["Tiled"]

_FEWEST_TERMS = 1 << 15  # that it pays not to hold
_TILE_BYTES = {"cpu": 1 << 20}
_OTHER_BYTES = 64 << 20
# Exponents below this are as good as none; their exponentials would be subnormal, which is slow.
_LEAST = -80.0


class Tiled(Kernel):
    """Plain torch operations on tiles: several sets, where there is room for all rows of one."""

    name: ClassVar[str] = "tiled"

    def suits(self, device: torch.device, layout: Layout) -> bool:
        return layout.n_terms >= _FEWEST_TERMS

    @staticmethod
    def _tiles(terms: Terms) -> Iterator[tuple[slice, slice]]:
        n_sets, n_rows, n_neurons, n_inputs = terms.sizes
        size = _TILE_BYTES.get(terms.x.device.type, _OTHER_BYTES)
        n_held = size // (n_neurons * n_inputs * terms.loc.itemsize)
        rows = max(1, min(n_rows, n_held))
        sets = max(1, n_held // rows)
        for at in range(0, n_sets, sets):
            for row in range(0, n_rows, rows):
                yield slice(at, at + sets), slice(row, row + rows)

    @staticmethod
    def _standardized(terms: Terms, sets: slice, rows: slice) -> tuple[Tensor, Tensor]:
        """Deviations ``(sets, rows, J, K)`` in standard units, and the exponents."""
        x = terms.x[slice(None) if terms.is_shared else sets, rows].unsqueeze(2)
        loc, inverse, a = (one[sets].unsqueeze(1) for one in terms[1:4])
        u = (x - loc).mul_(inverse)
        if not terms.omit:
            return u, torch.addcmul(a, u, u, value=-0.5)
        missing = x.isnan()
        u.masked_fill_(missing, 0.0)
        return u, torch.addcmul(a, u, u, value=-0.5).masked_fill_(missing, -float("inf"))

    def forward(self, terms: Terms, out: Tensor) -> None:
        for tile in self._tiles(terms):
            _, exponent = self._standardized(terms, *tile)
            top = exponent.amax(-1, keepdim=True)
            held = top.masked_fill(top == -float("inf"), 0.0)
            total = self._decay(exponent.sub_(held)).sum(-1)
            torch.add(top.squeeze(-1), total.log_(), out=out[tile])

    @staticmethod
    def _decay(exponent: Tensor) -> Tensor:
        """Exponentiates in place; what is too small becomes zero."""
        small = exponent < _LEAST
        return exponent.clamp_(min=_LEAST).exp_().masked_fill_(small, 0.0)

    def backward(self, terms: Terms, out: Tensor, grad: Tensor, wants_x: bool) -> Gradients:
        grad_x = torch.zeros_like(terms.x) if wants_x else None
        first, second, mass = (torch.zeros_like(terms.loc) for _ in range(3))
        for sets, rows in self._tiles(terms):
            u, exponent = self._standardized(terms, sets, rows)
            r = self._decay(exponent.sub_(out[sets, rows].unsqueeze(-1)))
            r.mul_(grad[sets, rows].unsqueeze(-1))
            mass[sets] += r.sum(1)
            r.mul_(u)
            first[sets] += r.sum(1)
            if grad_x is not None:
                slope = torch.einsum("snjk,sjk->snk", r, terms.inverse[sets])
                if terms.is_shared:
                    grad_x[0, rows] -= slope.sum(0)
                else:
                    grad_x[sets, rows] -= slope
            second[sets] += r.mul_(u).sum(1)
        return Gradients(grad_x, first, second, mass)
