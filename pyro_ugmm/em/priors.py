"""Conjugate priors for EM: maximum a posteriori instead of maximum likelihood."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from ..checks import check, check_floating, check_number, check_values
from ..distributions import GaussianMixture

__all__ = ["ConjugatePrior"]


@dataclass(frozen=True, eq=False)
class ConjugatePrior:
    r"""A Dirichlet prior on weights and a normal-inverse-Wishart prior on means and covariances.

    .. math::
        w \sim \mathrm{Dirichlet}(\alpha), \quad
        p(\mu_k, \Sigma_k) \propto |\Sigma_k|^{-\nu/2}
        \exp\left(-\tfrac{\nu}{2} \mathrm{tr}(S \Sigma_k^{-1})
        -\tfrac{\kappa}{2} (\mu_k - m)^T \Sigma_k^{-1} (\mu_k - m)\right)

    Strengths count rows: the estimate of a component is what :math:`\kappa` rows at the mean
    :math:`m` and :math:`\nu` rows with covariance :math:`S` about it would add to the data. In the
    usual parameters :math:`\Psi = \nu S` and :math:`\nu_0 = \nu - D - 2`. Diagonal and spherical
    covariances take what they keep of :math:`S`; a tied covariance takes it once.

    Args:
        mean: :math:`m`, shape ``(D,)``, or ``(K, D)``.
        covariance: :math:`S`, positive definite, shape ``(D, D)``.
        mean_strength: :math:`\kappa \ge 0`.
        covariance_strength: :math:`\nu \ge 0`.
        concentration: :math:`\alpha \ge 1`, the same for all weights.

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
        n_features = self.mean.shape[-1] if self.mean.dim() else 0
        check(n_features, "mean", "shape (D,) or (K, D)", tuple(self.mean.shape))
        shape = (n_features, n_features)
        got = tuple(self.covariance.shape)
        check(got == shape, "covariance", f"shape {shape}, as mean has {n_features}", got)
        failed = torch.linalg.cholesky_ex(self.covariance).info > 0
        check_values("covariance", failed, ~failed, "a positive definite matrix")
        for name in ("mean_strength", "covariance_strength"):
            check_number(name, getattr(self, name), lambda v: v >= 0, "a non-negative number")
        check_number("concentration", self.concentration, lambda v: v >= 1, "at least 1")

    def like(self, means: Tensor) -> Self:
        """Returns the prior in the dtype and on the device of means ``(..., K, D)``."""
        n_features = self.mean.shape[-1]
        check(n_features == means.shape[-1], "prior", f"{means.shape[-1]} features", n_features)
        return replace(self, mean=self.mean.to(means), covariance=self.covariance.to(means))

    def log_density(self, mixture: GaussianMixture) -> Tensor:
        """Evaluates the log prior density of parameters, but for a constant; shape of the batch."""
        structure, n_features = mixture.covariance, mixture.n_features
        factor = torch.linalg.cholesky(self.covariance)
        deviations = structure.whiten(mixture.means - self.mean).square().sum(-1)
        columns = torch.stack(
            [
                structure.whiten(column.expand_as(mixture.means)).square().sum(-1)
                for column in factor.T
            ]
        )
        spread = structure.log_determinant(n_features) + columns.sum(0)
        share = 1.0 if structure.per_component else 1.0 / mixture.n_components
        by_component = self.mean_strength * deviations + self.covariance_strength * share * spread
        weights = mixture.weights.clamp(min=torch.finfo(mixture.weights.dtype).tiny).log()
        return ((self.concentration - 1) * weights - 0.5 * by_component).sum(-1)
