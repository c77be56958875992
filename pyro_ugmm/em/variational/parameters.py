"""A distribution of all of a mixture's parameters."""

from dataclasses import dataclass
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

    def divergence(self, other: Self) -> Tensor:
        """The Kullback-Leibler divergence from another one, shape ``()``."""
        of_weights = self.weights.divergence(other.weights)
        return of_weights + self.components.divergence(other.components)

    def mixture(self, missing: str) -> GaussianMixture:
        """The expected weights and means, and the inverses of the expected precisions."""
        components = self.components
        weights = self.weights.mean().to(components.means)
        return GaussianMixture(
            weights,
            components.means,
            components.covariance,
            missing=missing,
            validate_args=False,
        )

    def log_weights(self) -> Tensor:
        """The weights in :meth:`mixture`, not normalized, under which a row's log density is its
        expected one.
        """
        logarithms = self.weights.expected_log() + self.components.expected_log_scale()
        return logarithms.to(self.components.means)
