"""The layer's log-density in plain torch, over tiles of rows that stay in the cache."""

from typing import ClassVar

import torch
from torch import Tensor

from .contract import Backend

__all__ = ["Tiled"]

_TILE_BYTES = {"cpu": 1 << 20}
_OTHER_BYTES = 64 << 20
# Exponents below this are as good as none; their exponentials would be subnormal, which is slow.
_LEAST = -80.0


class Tiled(Backend):
    """Plain torch operations on tiles of rows."""

    name: ClassVar[str] = "tiled"

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        return ""

    @staticmethod
    def _tiles(x: Tensor, loc: Tensor) -> list[slice]:
        size = _TILE_BYTES.get(x.device.type, _OTHER_BYTES)
        step = max(1, size // (loc.numel() * loc.itemsize))
        return [slice(at, at + step) for at in range(0, len(x), step)]

    @staticmethod
    def _standardized(
        x: Tensor, loc: Tensor, inverse: Tensor, a: Tensor, omit: bool
    ) -> tuple[Tensor, Tensor]:
        """Deviations ``(tile, J, K)`` in standard units, and the exponents."""
        u = (x.unsqueeze(1) - loc).mul_(inverse)
        if not omit:
            return u, torch.addcmul(a, u, u, value=-0.5)
        missing = x.isnan().unsqueeze(1)
        u.masked_fill_(missing, 0.0)
        return u, torch.addcmul(a, u, u, value=-0.5).masked_fill_(missing, -float("inf"))

    def forward(self, x: Tensor, loc: Tensor, inverse: Tensor, a: Tensor, omit: bool) -> Tensor:
        out = x.new_empty(len(x), len(loc))
        for tile in self._tiles(x, loc):
            _, exponent = self._standardized(x[tile], loc, inverse, a, omit)
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

    def backward(
        self,
        x: Tensor,
        loc: Tensor,
        inverse: Tensor,
        a: Tensor,
        omit: bool,
        out: Tensor,
        grad: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        grad_x = torch.empty_like(x)
        first, second, mass = (torch.zeros_like(loc) for _ in range(3))
        for tile in self._tiles(x, loc):
            u, exponent = self._standardized(x[tile], loc, inverse, a, omit)
            r = self._decay(exponent.sub_(out[tile].unsqueeze(-1)))
            r.mul_(grad[tile].unsqueeze(-1))
            mass.add_(r.sum(0))
            r.mul_(u)
            first.add_(r.sum(0))
            torch.sum(r * inverse, 1, out=grad_x[tile])
            second.add_(r.mul_(u).sum(0))
        return grad_x.neg_(), first, second, mass
