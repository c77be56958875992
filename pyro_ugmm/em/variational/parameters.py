"""A distribution of all of a mixture's parameters."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from torch import Tensor

from ...accumulation import double
from ...distributions import GaussianMixture
from ..statistics import SufficientStatistics
from .normal_wishart import NormalWishart
from .weights import WeightDistribution

__all__ = ["ParameterDistribution"]


@dataclass(frozen=True, eq=False)
class ParameterDistribution:
    """Weights, and independently of these, means and precisions: a conjugate prior, or a posterior.

    Attributes:
        weights: the distribution of the weights.
        components: the distribution of means and precisions.
    """

    weights: WeightDistribution
    components: NormalWishart

    def updated(self, statistics: SufficientStatistics) -> Self:
        """Adds rows, of which an E-step left statistics."""
        weights = self.weights.updated(double(statistics.mass))
        return type(self)(weights, self.components.updated(statistics))

    @cached_property
    def log_normalizer(self) -> Tensor:
        """What the log density is divided by, but for a constant of all such distributions."""
        return self.weights.log_normalizer() + self.components.log_normalizer()

    def expected_log_likelihood(self, statistics: SufficientStatistics) -> Tensor:
        """The expected log density of rows and assignments, of which an E-step under this
        distribution left statistics; but for that of missing entries, and a constant of all rows.
        """
        assigned = (double(statistics.mass) * self._log_weights).sum()
        return assigned + self.components.expected_exponent(statistics)

    def mixture(self, missing: str) -> GaussianMixture:
        """The expected weights and means, and the inverses of the expected precisions."""
        return self._mixture(self.weights.mean().to(self.components.means), missing)

    def assigning(self, missing: str) -> GaussianMixture:
        """The mixture whose responsibilities are those of rows under the whole distribution."""
        return self._mixture(self.log_weights().softmax(-1), missing)

    def _mixture(self, weights: Tensor, missing: str) -> GaussianMixture:
        means, covariance = self.components.means, self.components.covariance
        return GaussianMixture(weights, means, covariance, missing=missing, validate_args=False)

    def log_weights(self) -> Tensor:
        """The weights in :meth:`mixture`, not normalized, under which a row's log density is its
        expected one.
        """
        return self._log_weights.to(self.components.means)

    @cached_property
    def _log_weights(self) -> Tensor:
        return self.weights.expected_log() + self.components.expected_log_scale()
