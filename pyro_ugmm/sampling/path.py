"""The path of densities from where particles come from to the posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Particles", "Path"]


@dataclass(frozen=True, eq=False)
class Particles:
    r"""Points, and what is known of the densities there.

    Attributes:
        position: :math:`u`, unconstrained, shape ``(S, n)``.
        reference: :math:`\log q(u)`, the density at temperature zero, shape ``(S,)``.
        increment: :math:`\log p(u) - \log q(u)`, up to temperature one, shape ``(S,)``.
        gradient: of the log density at the path's temperature, shape ``(S, n)``.
    """

    position: Tensor
    reference: Tensor
    increment: Tensor
    gradient: Tensor

    def __len__(self) -> int:
        return len(self.position)

    def map(self, function: Callable[[Tensor], Tensor]) -> Particles:
        """Applies a function to all tensors."""
        return Particles(*(function(getattr(self, name)) for name in self.__dataclass_fields__))

    def where(self, taken: Tensor, other: Particles) -> Particles:
        """Returns these where ``taken``, shape ``(S,)``, and others elsewhere."""
        pairs = ((getattr(self, n), getattr(other, n)) for n in self.__dataclass_fields__)
        return Particles(
            *(torch.where(taken if a.dim() == 1 else taken.unsqueeze(-1), a, b) for a, b in pairs)
        )

    def log_density(self, temperature: float) -> Tensor:
        """The log density at a temperature, shape ``(S,)``; minus infinity where there is none."""
        return self.reference + temperature * self.increment


@dataclass(frozen=True)
class Path:
    r"""Densities :math:`\log \pi_\beta(u) = \log q(u) + \beta (\log p(u) - \log q(u))`.

    Args:
        densities: of positions ``(S, n)``: the pair :math:`\log q(u)` and
            :math:`\log p(u) - \log q(u)`, each of shape ``(S,)``, of which gradients can be taken.
        block: how many positions are evaluated at once.
        is_bounded: whether the ratio is, as a likelihood under its prior; that of a posterior and a
            guide may grow far out.
    """

    densities: Callable[[Tensor], tuple[Tensor, Tensor]]
    block: int = 1 << 30
    is_bounded: bool = True

    def at(self, position: Tensor, temperature: float) -> Particles:
        """Evaluates positions; where a log density is not finite, a density of zero is taken."""
        parts = [self._at(part, temperature) for part in position.split(self.block)]
        if len(parts) == 1:
            return parts[0]
        names = Particles.__dataclass_fields__
        return Particles(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def _at(self, position: Tensor, temperature: float) -> Particles:
        with torch.enable_grad():
            point = position.detach().requires_grad_()
            reference, increment = self.densities(point)
            total = (reference + temperature * increment).sum()
            (gradient,) = torch.autograd.grad(total, point)
        least = torch.finfo(position.dtype).min
        reference, increment = (
            torch.where(t.isfinite(), t, -torch.inf).clamp(min=least)
            for t in (reference.detach(), increment.detach())
        )
        return Particles(position, reference, increment, gradient.nan_to_num(0.0, 0.0, 0.0))
