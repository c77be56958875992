"""Normal-Wishart distributions of components' means and precisions."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from torch import Tensor

from ...accumulation import double
from ...distributions.covariance import Covariance
from ..statistics import SufficientStatistics
from .precision_law import PrecisionLaw

__all__ = ["NormalWishart"]


@dataclass(frozen=True, eq=False)
class NormalWishart:
    r"""Means and precisions of :math:`K` components.

    .. math:: \Lambda_k \sim \mathrm{Wishart}(\nu_k, \Psi_k^{-1}), \qquad
        \mu_k \mid \Lambda_k \sim \mathcal{N}(m_k, (\beta_k \Lambda_k)^{-1})

    and what this is of diagonal matrices and of numbers. Of a matrix that all components share,
    :math:`\Lambda \sim \mathrm{Wishart}(K \nu, (K \Psi)^{-1})`, each has its share.

    Attributes:
        means: :math:`m`, shape ``(K, D)``.
        mean_precision: :math:`\beta`, shape ``(K,)``, float64 where there is any, as is the next.
        degrees_of_freedom: :math:`\nu`, shape ``(K,)``.
        scatter: :math:`\Psi`, as the structure keeps second moments.
        structure: of the covariances.
        law: of the structure's precisions.
    """

    means: Tensor
    mean_precision: Tensor
    degrees_of_freedom: Tensor
    scatter: Tensor
    structure: type[Covariance]
    law: PrecisionLaw

    @cached_property
    def covariance(self) -> Any:
        r"""The inverses of the expected precisions, :math:`\Psi_k / \nu_k`."""
        degrees, n_features = self.degrees_of_freedom.to(self.means), self.means.shape[-1]
        return self.structure.from_moments(self.scatter, degrees, n_features, 0.0)[0]

    def updated(self, statistics: SufficientStatistics) -> Self:
        """Adds rows."""
        moments, mass, counts = self.structure.moments, statistics.mass, double(statistics.mass)
        precision = self.mean_precision + counts
        average = statistics.first / mass.clamp(min=1e-30).unsqueeze(-1)
        scatter = statistics.second - moments.outer(average, mass)
        gap = self.means - statistics.pivots
        from_prior = (counts * self.mean_precision / precision).to(mass)
        scatter = self.scatter + scatter + moments.outer(average - gap, from_prior)
        toward = (self.mean_precision / precision).to(mass).unsqueeze(-1)
        if self.structure.is_shared:
            counts = counts.mean(-1, keepdim=True)
        return replace(
            self,
            means=statistics.pivots + average + (gap - average) * toward,
            mean_precision=precision,
            degrees_of_freedom=self.degrees_of_freedom + counts,
            scatter=scatter,
        )

    def expected_log_scale(self) -> Tensor:
        r"""How the expected log density of a row differs from that of a normal distribution with
        mean :math:`m_k` and covariance :math:`\Psi_k / \nu_k`, ``(K,)``.

        .. math:: \tfrac12 \bigl(\mathbb{E} \log |\Lambda_k| + \log |\Psi_k / \nu_k|\bigr)
            - \frac{D}{2 \beta_k}
        """
        n_features, degrees = self.means.shape[-1], self.degrees_of_freedom
        logarithms = self.law.expected_log(degrees) - n_features * (degrees / 2).log()
        return (logarithms - n_features / self.mean_precision) / 2

    def log_normalizer(self) -> Tensor:
        """What the log density is divided by, of all components, but for a constant; shape ``()``.

        The constant is that of all such distributions.
        """
        n_features, degrees = self.means.shape[-1], self.degrees_of_freedom
        volume = self._log_determinant + n_features * (degrees / 2).log()
        of_precisions = self.law.log_normalizer(degrees) - degrees / 2 * volume
        return (of_precisions - n_features / 2 * self.mean_precision.log()).sum()

    @cached_property
    def _log_determinant(self) -> Tensor:
        return double(self.covariance.log_determinant(self.means.shape[-1]))

    def expected_exponent(self, statistics: SufficientStatistics) -> Tensor:
        r"""The expected exponent of rows, of which an E-step under :attr:`covariance` left
        statistics; shape ``()``.

        .. math:: -\tfrac12 \sum_k N_k \log |\Psi_k / \nu_k|
            - \tfrac12 \sum_{nk} r_{nk} (x_n - m_k)^T (\Psi_k / \nu_k)^{-1} (x_n - m_k)
        """
        precisions, _ = self.covariance.precisions()
        squares = double(precisions * statistics.second).sum()
        return -0.5 * ((double(statistics.mass) * self._log_determinant).sum() + squares)
