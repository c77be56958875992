"""The sites of a Bayesian Gaussian mixture: their shapes, priors, supports and starts."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from ..checks import check, check_precision
from ..distributions import GaussianMixture
from .covariance_sites import COVARIANCE_SITES
from .derived_module import DerivedModule
from .dirichlet import Dirichlet
from .mixture_site import MixtureSite
from .priors import Priors
from .scaled_prior import ScaledPrior

__all__ = ["MixtureSites"]

_LEAST_VARIANCE = 1e-6
_LEAST_WEIGHT = 1e-4


class MixtureSites(DerivedModule):
    """The sites of mixtures of ``K`` components in ``D`` dimensions, at the data's scale.

    Means start at random, one for each component, since a prior's center is the same for all and
    components that start alike stay alike.
    """

    center: Tensor
    spread: Tensor
    start_means: Tensor

    def __init__(
        self,
        n_components: int,
        n_features: int,
        covariance: str,
        priors: Priors,
        rank: int | None = None,
    ) -> None:
        super().__init__()
        self._sizes = {"component": n_components, "feature": n_features}
        self._kind: dict[str, Any] = {"n_components": n_components, "n_features": n_features}
        self._kind["covariance"] = covariance
        if rank is not None:
            self._sizes["common_factor"] = self._kind["rank"] = rank
        self._priors = priors
        self._structure = COVARIANCE_SITES[covariance]
        self.register_buffer("center", priors.center.expand(n_features).clone())
        self.register_buffer("spread", priors.spread.to(priors.center).expand(n_features).clone())
        noise = torch.randn(n_components, n_features).to(self.center)
        self.register_buffer("start_means", self.center + self.spread * noise)

    def starts(self) -> dict[str, Tensor]:
        """Where each site starts."""
        return {name: site.start for name, site in self.by_name().items()}

    def read(self, start: Any) -> dict[str, Tensor]:
        """The values of all sites of a mixture, checked to be of this kind."""
        self._check_start(start)
        start = start.to(self.center)
        values = {"means": start.means, **self._structure.read(start.covariance)}
        weights = start.weights.clamp(min=_LEAST_WEIGHT)
        values["weights"] = weights / weights.sum()
        return {name: value.detach() for name, value in values.items()}

    def _check_start(self, start: Any) -> None:
        expected = "a GaussianMixture, such as the mixture of EM's result"
        check(isinstance(start, GaussianMixture), "start", expected, type(start).__name__)
        structure = start.covariance
        found = (start.n_components, start.n_features, structure.name, structure.rank)
        got, wanted = found[: len(self._kind)], tuple(self._kind.values())
        check(got == wanted, "start", f"{', '.join(self._kind)} = {wanted}", got)
        check(start.batch_shape == (), "start", "no batch", tuple(start.batch_shape))

    def by_name(self) -> dict[str, MixtureSite]:
        """All sites, in the order in which they are drawn."""
        return self._derive(self._by_name)

    def _by_name(self) -> dict[str, MixtureSite]:
        check_precision("model", self.center)
        sites = {"weights": self._weights()} if self._sizes["component"] > 1 else {}
        sites |= {"means": self._means(), "variances": self._variances()}
        if self._sizes["feature"] > 1:  # In one dimension there is nothing to correlate.
            concentration = self._priors.correlations
            sites |= self._structure.correlated(self._sizes, concentration, self.center)
        return sites

    def _shape(self, dims: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(self._sizes[dim] for dim in dims)

    def _weights(self) -> MixtureSite:
        n_components, concentration = self._sizes["component"], self._priors.weights
        even = self.center.new_full((n_components,), 1 / n_components)
        prior = None
        if concentration is not None:
            prior = Dirichlet(self.center.new_full((n_components,), concentration))
        return MixtureSite(("component",), prior, even, constraints.simplex)

    def _means(self) -> MixtureSite:
        prior = None
        if self._priors.means is not None:
            origin = (self.start_means - self.center) / self.spread
            scaled = ScaledPrior(self._priors.means, self.center, self.spread, origin)
            prior = scaled.to_event(2)
        dims = ("component", "feature")
        return MixtureSite(dims, prior, self.start_means.clone(), constraints.real)

    def _variances(self) -> MixtureSite:
        dims, prior = self._structure.dims, None
        share = self._sizes["component"] ** (-2 / self._sizes["feature"])
        unit = (share * self._structure.unit(self.spread)).expand(self._shape(dims)).clone()
        if self._priors.variances is not None:
            zero, one = torch.zeros_like(unit), torch.ones_like(unit)
            scaled = ScaledPrior(self._priors.variances, zero, unit, one)
            prior = scaled.to_event(len(dims))
        floor = _LEAST_VARIANCE * float(unit.min())  # the likelihood has no maximum without one
        return MixtureSite(dims, prior, unit, constraints.greater_than(floor))
