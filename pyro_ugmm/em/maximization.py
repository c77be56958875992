"""The M-step: parameters from sufficient statistics."""

import torch
from torch import Tensor

from ..distributions import GaussianMixture
from .conjugate_prior import ConjugatePrior
from .frozen import NOTHING, Frozen
from .statistics import SufficientStatistics

__all__ = ["maximize"]


def maximize(
    statistics: SufficientStatistics,
    reg_covar: float,
    prior: ConjugatePrior | None = None,
    frozen: Frozen = NOTHING,
    weights_before: Tensor | None = None,
) -> tuple[GaussianMixture, Tensor]:
    r"""Returns the most probable mixture given statistics, and which components are singular.

    .. math::
        w_k = N_k / N, \quad \mu_k = \bar x_k, \quad
        \Sigma_k = \frac{1}{N_k} \sum_n r_{nk} (x_n - \mu_k)(x_n - \mu_k)^T + \mathrm{reg} \, I

    with the pseudo-rows of the prior added, if there is one. A component is singular if it needed
    more than ``reg_covar`` to be positive definite. What is frozen stays as it was before, as the
    statistics know it, but for the weights, among themselves; a covariance whose mean stays is
    taken about that. Where there is a background, weights lack its share of one.
    """
    mass, before = statistics.mass, statistics.covariance
    total = mass.sum(-1, keepdim=True)
    tiny = torch.finfo(mass.dtype).tiny
    divisor = torch.maximum(mass, (tiny**0.5 * total).clamp(min=tiny))
    shift, stays = statistics.first / divisor.unsqueeze(-1), None
    if frozen:
        stays = frozen.mask("means", mass)
        shift = torch.where(stays.unsqueeze(-1), 0, shift)
    scatter = statistics.second - before.moments.outer(shift, mass)
    if prior is None:
        weights = mass / total
    else:
        weights = prior.weights(mass)
        shift, scatter, divisor = prior.with_rows(statistics, shift, scatter, divisor, stays)
    if frozen and weights_before is not None:
        if statistics.has_background:
            weights_before = weights_before / weights_before.sum(-1, keepdim=True)
        weights = frozen.weights_beside(weights, weights_before)
    n_features = statistics.pivots.shape[-1]
    covariance, singular = before.refitted(scatter, divisor, n_features, reg_covar)
    if frozen:
        kept = frozen.mask("covariance", mass)
        covariance, singular = covariance.where(kept.expand(mass.shape), before), singular & ~kept
    mixture = GaussianMixture(
        weights * statistics.share,
        statistics.pivots + shift,
        covariance,
        missing=statistics.missing,
        validate_args=False,
    )
    return mixture, singular.expand(mass.shape)
