"""Conjugate priors for EM: maximum a posteriori instead of maximum likelihood."""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from ..checks import check, check_floating, check_number, check_values
from ..distributions import GaussianMixture, TiedCovariance
from ..distributions.factorization import factorize
from .statistics import SufficientStatistics

__all__ = ["ConjugatePrior"]

_BLOCK = 64  # columns that are whitened at once


@dataclass(frozen=True, eq=False, repr=False)
class ConjugatePrior:
    r"""A Dirichlet prior on weights and a normal-inverse-Wishart prior on means and covariances.

    .. math::
        w \sim \mathrm{Dirichlet}(\alpha), \quad
        p(\mu_k, \Sigma_k) \propto |\Sigma_k|^{-\nu/2}
        \exp\left(-\tfrac{\nu}{2} \mathrm{tr}(S \Sigma_k^{-1})
        -\tfrac{\kappa}{2} (\mu_k - m)^T \Sigma_k^{-1} (\mu_k - m)\right)

    Strengths count rows: the mean of a component is estimated with :math:`\kappa` more rows at
    :math:`m`, its covariance with :math:`\nu` more rows of covariance :math:`S`; the former count
    in the scatter about the mean, and not in what it is divided by. In the usual parameters
    :math:`\Psi = \nu S` and :math:`\nu_0 = \nu - D - 2`. Diagonal and spherical covariances take
    what they keep of :math:`S`; a tied covariance takes it once; of low rank, the density is that
    at :math:`F_k F_k^T + \mathrm{diag}(v_k)`.

    Args:
        mean: :math:`m`, shape ``(D,)``, or ``(K, D)``.
        covariance: :math:`S`, positive definite, shape ``(D, D)``.
        mean_strength: :math:`\kappa \ge 0`.
        covariance_strength: :math:`\nu \ge 0`.
        concentration: :math:`\alpha \ge 1`, the same for all weights.

    Raises:
        ValueError: if a shape does not fit, a mean is not finite, :math:`S` is not symmetric and
            positive definite, or a strength is out of its range.

    Source: Fraley and Raftery (2007), *Bayesian regularization for normal mixture estimation and
    model-based clustering*, Journal of Classification 24.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import ConjugatePrior
        >>> x = torch.randn(100, 2)
        >>> prior = ConjugatePrior(x.mean(0), torch.cov(x.T), covariance_strength=4)
    """

    mean: Tensor
    covariance: Tensor
    mean_strength: float = 0.0
    covariance_strength: float = 0.0
    concentration: float = 1.0

    def __post_init__(self) -> None:
        check_floating("mean", self.mean)
        check_floating("covariance", self.covariance)
        n_features = self.mean.shape[-1] if self.mean.dim() in (1, 2) else 0
        check(n_features, "mean", "shape (D,) or (K, D)", tuple(self.mean.shape))
        check_values("mean", self.mean, self.mean.isfinite(), "finite values")
        shape = (n_features, n_features)
        got = tuple(self.covariance.shape)
        check(got == shape, "covariance", f"shape {shape}, as mean has {n_features}", got)
        try:
            TiedCovariance(self.covariance, validate_args=True)
        except ValueError as error:
            raise ValueError(str(error).replace("matrix", "covariance", 1)) from None
        expected = "a finite non-negative number"
        for name in ("mean_strength", "covariance_strength"):
            number = check_number(name, getattr(self, name), lambda v: 0 <= v < math.inf, expected)
            object.__setattr__(self, name, number)
        for name in ("mean", "covariance"):
            object.__setattr__(self, name, getattr(self, name).detach())
        expected = "a finite number of at least 1"
        number = check_number(
            "concentration", self.concentration, lambda v: 1 <= v < math.inf, expected
        )
        object.__setattr__(self, "concentration", number)

    def __repr__(self) -> str:
        names = ("mean_strength", "covariance_strength", "concentration")
        strengths = ", ".join(f"{name}={getattr(self, name):g}" for name in names)
        return f"{type(self).__name__}(n_features={self.mean.shape[-1]}, {strengths})"

    @property
    def informs(self) -> bool:
        """Whether it says something of a column of which nothing was observed."""
        return self.mean_strength > 0 or self.covariance_strength > 0

    def check_fits(self, means: Tensor) -> None:
        """Checks that it is of as many components and features as means ``(..., K, D)``."""
        n_components, n_features = means.shape[-2:]
        got = tuple(self.mean.shape)
        check(got[-1] == n_features, "prior", f"{n_features} features", got[-1])
        expected = f"a mean of shape ({n_features},) or {(n_components, n_features)}"
        check(len(got) == 1 or got[0] == n_components, "prior", expected, got)

    def like(self, means: Tensor) -> Self:
        """Returns the prior in the dtype and on the device of means ``(..., K, D)``."""
        self.check_fits(means)
        covariance, _, _ = factorize(self.covariance.to(means))
        return replace(self, mean=self.mean.to(means), covariance=covariance)

    def in_units_of(self, weight: float) -> Self:
        """Returns the prior for rows whose weights were divided by ``weight``."""
        return replace(
            self,
            mean_strength=self.mean_strength / weight,
            covariance_strength=self.covariance_strength / weight,
            concentration=1 + (self.concentration - 1) / weight,
        )

    def weights(self, mass: Tensor) -> Tensor:
        """Returns the most probable weights, given the rows ``(..., K)`` of each component."""
        counts = mass + (self.concentration - 1)
        return counts / counts.sum(-1, keepdim=True)

    def with_rows(
        self,
        statistics: SufficientStatistics,
        shift: Tensor,
        scatter: Tensor,
        mass: Tensor,
        stays: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Adds the rows that its strengths count.

        Args:
            statistics: of the data.
            shift: of the components' means from the pivots, shape ``(..., K, D)``.
            scatter: second moments about these means.
            mass: what they are divided by, shape ``(..., K)``.
            stays: which means stay at the pivots, ``(K,)``, if some do.

        Returns:
            The same with these rows.
        """
        structure, n_components = statistics.covariance, mass.shape[-1]
        moments, strength = structure.moments, self.mean_strength
        gap = self.mean - statistics.pivots
        pull = strength / (mass + strength)
        if stays is not None:
            pull = torch.where(stays, 0, pull)
        counts = pull * mass if stays is None else torch.where(stays, strength, pull * mass)
        scatter = scatter + moments.outer(shift - gap, counts)
        shift = shift + (gap - shift) * pull.unsqueeze(-1)
        strength = self.covariance_strength * structure.n_distinct(n_components) / n_components
        matrices = (strength * self.covariance).expand(*mass.shape, *self.covariance.shape)
        return shift, scatter + moments.project(matrices), mass + strength

    def log_density(self, mixture: GaussianMixture) -> Tensor:
        """Evaluates the log prior density of parameters, but for a constant; shape of the batch."""
        structure, n_features = mixture.covariance, mixture.n_features
        least = torch.finfo(mixture.weights.dtype).tiny
        density = ((self.concentration - 1) * mixture.weights.clamp(min=least).log()).sum(-1)
        if self.mean_strength:  # times zero, what overflowed would be NaN
            deviations = structure.whiten(mixture.means - self.mean).square().sum(-1)
            density = density - 0.5 * self.mean_strength * deviations.sum(-1)
        if self.covariance_strength:
            columns = factorize(self.covariance)[1].T
            columns = columns.reshape(n_features, *(1,) * (mixture.means.dim() - 1), n_features)
            trace = sum(
                structure.whiten(block.expand(-1, *mixture.means.shape)).square().sum((0, -1))
                for block in columns.split(_BLOCK)
            )
            spread = (structure.log_determinant(n_features) + trace).sum(-1)
            share = structure.n_distinct(mixture.n_components) / mixture.n_components
            density = density - 0.5 * self.covariance_strength * share * spread
        return density
