"""The layer's log-density in plain torch, over tiles of rows that stay in the cache."""

from typing import ClassVar

import torch
from torch import Tensor

from .kernel import Gradients, Kernel, Terms

__all__ = ["Tiled"]

_TILE_BYTES = {"cpu": 1 << 20}
_OTHER_BYTES = 64 << 20
# Exponents below this are as good as none; their exponentials would be subnormal, which is slow.
_LEAST = -80.0


class Tiled(Kernel):
    """Plain torch operations on tiles of rows."""

    name: ClassVar[str] = "tiled"

    @staticmethod
    def _tiles(terms: Terms) -> list[slice]:
        size = _TILE_BYTES.get(terms.x.device.type, _OTHER_BYTES)
        step = max(1, size // (terms.loc.numel() * terms.loc.itemsize))
        return [slice(at, at + step) for at in range(0, len(terms.x), step)]

    @staticmethod
    def _standardized(terms: Terms, tile: slice) -> tuple[Tensor, Tensor]:
        """Deviations ``(tile, J, K)`` in standard units, and the exponents."""
        x, loc, inverse, a, omit = terms
        x = x[tile]
        u = (x.unsqueeze(1) - loc).mul_(inverse)
        if not omit:
            return u, torch.addcmul(a, u, u, value=-0.5)
        missing = x.isnan().unsqueeze(1)
        u.masked_fill_(missing, 0.0)
        return u, torch.addcmul(a, u, u, value=-0.5).masked_fill_(missing, -float("inf"))

    def forward(self, terms: Terms) -> Tensor:
        out = terms.x.new_empty(len(terms.x), len(terms.loc))
        for tile in self._tiles(terms):
            _, exponent = self._standardized(terms, tile)
            top = exponent.amax(-1, keepdim=True)
            held = top.masked_fill(top == -float("inf"), 0.0)
            total = self._decay(exponent.sub_(held)).sum(-1)
            torch.add(top.squeeze(-1), total.log_(), out=out[tile])
        return out

    @staticmethod
    def _decay(exponent: Tensor) -> Tensor:
        """Exponentiates in place; what is too small becomes zero."""
        small = exponent < _LEAST
        return exponent.clamp_(min=_LEAST).exp_().masked_fill_(small, 0.0)

    def backward(self, terms: Terms, out: Tensor, grad: Tensor) -> Gradients:
        grad_x = torch.empty_like(terms.x)
        first, second, mass = (torch.zeros_like(terms.loc) for _ in range(3))
        for tile in self._tiles(terms):
            u, exponent = self._standardized(terms, tile)
            r = self._decay(exponent.sub_(out[tile].unsqueeze(-1)))
            r.mul_(grad[tile].unsqueeze(-1))
            mass.add_(r.sum(0))
            r.mul_(u)
            first.add_(r.sum(0))
            torch.sum(r * terms.inverse, 1, out=grad_x[tile])
            second.add_(r.mul_(u).sum(0))
        return Gradients(grad_x.neg_(), first, second, mass)
