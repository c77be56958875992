"""The M-step: parameters from sufficient statistics."""

import torch
from torch import Tensor

from ..distributions import GaussianMixture
from .priors import ConjugatePrior
from .statistics import SufficientStatistics

__all__ = ["maximize"]


def maximize(
    statistics: SufficientStatistics,
    reg_covar: float,
    prior: ConjugatePrior | None,
    missing: str,
) -> tuple[GaussianMixture, Tensor]:
    r"""Returns the most probable mixture given statistics, and which components were raised.

    .. math::
        w_k = N_k / N, \quad \mu_k = \bar x_k, \quad
        \Sigma_k = \frac{1}{N_k} \sum_n r_{nk} (x_n - \mu_k)(x_n - \mu_k)^T + \mathrm{reg} \, I

    with the pseudo-rows of the prior added, if there is one. A component is raised if it needed
    more than ``reg_covar`` to be positive definite.
    """
    structure, moments = statistics.structure, statistics.structure.moments
    mass, n_features = statistics.mass, statistics.pivots.shape[-1]
    n_components = mass.shape[-1]
    tiny = torch.finfo(mass.dtype).tiny
    least = (tiny**0.5 * mass.sum(-1, keepdim=True)).clamp(min=tiny)
    held = torch.maximum(mass, least)
    step = statistics.first / held.unsqueeze(-1)
    central = statistics.second - moments.outer(step, mass)
    if prior is None:
        weights = mass / mass.sum(-1, keepdim=True)
    else:
        counts = mass + (prior.concentration - 1)
        weights = counts / counts.sum(-1, keepdim=True)
        gap = prior.mean - statistics.pivots
        strength = prior.mean_strength
        central = central + moments.outer(step - gap, strength * held / (held + strength))
        step = step + (gap - step) * (strength / (held + strength)).unsqueeze(-1)
        strength = prior.covariance_strength * structure.n_distinct(n_components) / n_components
        matrices = (strength * prior.covariance).expand(*mass.shape, n_features, n_features)
        held = held + strength
        central = central + moments.project(matrices)
    covariance, raised = structure.from_moments(central, held, n_features, reg_covar)
    means = statistics.pivots + step
    mixture = GaussianMixture(weights, means, covariance, missing=missing, validate_args=False)
    return mixture, raised.expand(mass.shape)
