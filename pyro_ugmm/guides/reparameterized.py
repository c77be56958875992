"""Draws from guides, with their log densities, without a trace."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import torch
from pyro.infer.autoguide import (
    AutoGuide,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)
from torch import Tensor
from torch.distributions import transform_to

from ..programs.coordinates import Coordinates
from ..programs.sites import LatentSite

__all__ = ["Reparameterized", "reparameterized"]


class Reparameterized(ABC):
    """A guide as what noise becomes; from one seed it draws what the guide itself does.

    The guide's parameters may have dimensions before their own, of one guide each.

    Args:
        guide: the guide, which has run.
        coordinates: of its sites.
    """

    def __init__(self, guide: Any, coordinates: Coordinates) -> None:
        self._guide, self.coordinates = guide, coordinates

    @abstractmethod
    def rsample(self, batch: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Draws positions ``B + P + (n,)``, of guides ``P``, and their log densities.

        Both carry gradients.
        """


def _log_normal(noise: Tensor) -> Tensor:
    squares = torch.linalg.vector_norm(noise, dim=-1).square()
    return -0.5 * (squares + noise.shape[-1] * math.log(2 * math.pi))


class _AutoNormal(Reparameterized):
    """All sites' coordinates at once."""

    def __init__(self, guide: AutoNormal, coordinates: Coordinates) -> None:
        super().__init__(guide, coordinates)
        self._locs, self._scales = (
            [attrgetter(f"{name}_unconstrained")(part) for name in coordinates.shapes]
            for part in (guide.locs, guide.scales)
        )
        self._positive = transform_to(guide.scale_constraint)

    def rsample(self, batch: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        loc, scale = map(self._flat, (self._locs, self._scales))
        scale, batch = self._positive(scale), (*batch, *loc.shape[:-1])
        sizes = (shape.numel() for shape in self.coordinates.shapes.values())
        noise = torch.cat([loc.new_empty(*batch, size).normal_() for size in sizes], -1)
        return torch.addcmul(loc, scale, noise), _log_normal(noise) - scale.log().sum(-1)

    def _flat(self, parts: Iterable[Tensor]) -> Tensor:
        pairs = zip(parts, self.coordinates.shapes.values(), strict=True)
        return torch.cat(
            [p.reshape(*p.shape[: p.dim() - len(shape)], -1) for p, shape in pairs], -1
        )


class _AutoMultivariateNormal(Reparameterized):
    """The density needs no matrix's inverse."""

    def rsample(self, batch: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        loc, scale = self._guide.loc, self._guide.scale
        noise = torch.randn_like(loc.expand(*batch, *loc.shape))
        log_q = _log_normal(noise) - scale.log().sum(-1)
        turned = (noise.unsqueeze(-2) @ self._guide.scale_tril.mT).squeeze(-2)
        return loc + scale * turned, log_q


class _AutoLowRank(Reparameterized):
    """By torch's distribution."""

    def rsample(self, batch: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        posterior = self._guide.get_posterior()
        position = posterior.rsample(batch)
        return position, posterior.log_prob(position)


_KINDS: dict[type[AutoGuide], type[Reparameterized]] = {
    AutoNormal: _AutoNormal,
    AutoLowRankMultivariateNormal: _AutoLowRank,
    AutoMultivariateNormal: _AutoMultivariateNormal,
}


def reparameterized(guide: Any) -> Reparameterized | None:
    """Returns draws from a guide that has run and draws no site in a plate; None of others."""
    kind = _KINDS.get(type(guide))
    if kind is None or guide.create_plates is not None:
        return None
    nodes = [*guide.prototype_trace.iter_stochastic_nodes()]
    if any(node["cond_indep_stack"] for _, node in nodes):
        return None
    sites = {name: LatentSite(node["value"].shape, node["fn"].support) for name, node in nodes}
    return kind(guide, Coordinates(sites))
