"""The sites of mixtures of many groups: those that the groups share, and those of each."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..checks import check
from ..distributions import GaussianMixture
from .derived_module import DerivedModule
from .dirichlet import Dirichlet
from .mixture_sites import MixtureSites
from .scaled_prior import ScaledPrior

__all__ = ["GroupSites"]

_LEAST_SHARE = 0.1  # of the unit, so that offsets stay what they are about
_LEAST_WEIGHT = 1e-4
_START = 0.5

_DIMS = {
    "weights": ("group", "component"),
    "group_scales": ("component", "feature"),
    "offsets": ("group", "component", "feature"),
}


class GroupSites(DerivedModule):
    """Sites of ``G`` groups, beside those of one mixture of ``K`` components in ``D`` dimensions.

    Args:
        n_groups: :math:`G`.
        common: the sites of one mixture, with priors.
        concentration: of the prior of the groups' weights.
        group_scale: the scale of the prior of scales, in units of a component's share.
    """

    unit: Tensor

    def __init__(
        self, n_groups: int, common: MixtureSites, concentration: float, group_scale: float
    ) -> None:
        super().__init__()
        self.common, self._n_groups = common, n_groups
        self._concentration, self._group_scale = concentration, group_scale
        self._n_components, self._n_features = common.start_means.shape
        share = self._n_components ** (-1 / self._n_features)
        unit = (share * common.spread).expand(self._n_components, -1).clone()
        self.register_buffer("unit", unit)

    def priors(self) -> dict[str, Any]:
        """The prior of every site, in the order in which they are drawn."""
        return self._derive(self._priors)

    def _priors(self) -> dict[str, Any]:
        shared = {name: site.prior for name, site in self.common.by_name().items()}
        shape = self._n_groups, self._n_components
        shared["weights"] = Dirichlet(self.unit.new_full(shape, self._concentration)).to_event(1)
        half_normal = dist.HalfNormal(self.unit.new_tensor(self._group_scale))
        start = torch.full_like(self.unit, _START * self._group_scale)
        scales = ScaledPrior(half_normal, torch.zeros_like(self.unit), self.unit, start)
        return shared | {
            "group_scales": scales.to_event(2),
            "offsets": dist.Normal(self._zeros, 1.0).to_event(3),
        }

    @property
    def _zeros(self) -> Tensor:
        return self.unit.new_zeros(self._n_groups, *self.unit.shape)

    def dims(self) -> dict[str, list[str]]:
        """What the dimensions of all sites are called."""
        shared = {name: site.dims for name, site in self.common.by_name().items()}
        return {name: [*dims] for name, dims in (shared | _DIMS).items()}

    def starts(self) -> dict[str, Tensor]:
        """Where each site starts."""
        values = self.common.starts()
        values["weights"] = values["weights"].expand(self._n_groups, -1).clone()
        scales = _START * self._group_scale * self.unit
        return values | {"group_scales": scales, "offsets": self._zeros}

    def read(self, start: Any) -> dict[str, Tensor]:
        """The values of all sites: of one mixture for all groups, or of one for each."""
        expected = f"a GaussianMixture of batch shape () or ({self._n_groups},)"
        check(isinstance(start, GaussianMixture), "start", expected, type(start).__name__)
        shape = tuple(start.batch_shape)
        check(shape in ((), (self._n_groups,)), "start", expected, f"batch shape {shape}")
        pooled = _average(start) if shape else start
        common, means = self.common.read(pooled), start.means.detach().to(self.unit)
        scales = (means - pooled.means.to(self.unit)).square().expand_as(self._zeros).mean(0).sqrt()
        scales = scales.clamp(min=_LEAST_SHARE * self._group_scale * self.unit)
        weights = start.weights.detach().to(self.unit).clamp(min=_LEAST_WEIGHT)
        weights = weights.expand(self._n_groups, -1)
        return common | {
            "weights": weights / weights.sum(-1, keepdim=True),
            "group_scales": scales,
            "offsets": ((means - common["means"]) / scales).expand_as(self._zeros).clone(),
        }


def _average(mixtures: GaussianMixture) -> GaussianMixture:
    """One mixture between those of a batch, whose components are in the same order."""
    shape = mixtures.batch_shape
    each = mixtures.covariance.expand(shape)
    covariance = type(each)(*(t.mean(0) for t in each.tensors().values()), validate_args=False)
    weights, means = mixtures.weights.expand(*shape, -1), mixtures.means.expand(*shape, -1, -1)
    return GaussianMixture(weights.mean(0), means.mean(0), covariance, validate_args=False)
