"""Rows so far from all components that every density underflows, even in logarithms."""

import math

import torch
from torch import Tensor

from ..tracking import is_recorded, known_to_hold
from .completion import observed_factor
from .components import Components
from .steep import steep_logsumexp

__all__ = ["far_log_prob", "settle_far_rows"]


def settle_far_rows(log_joint: Tensor, x: Tensor, components: Components) -> Tensor:
    r"""Replaces joint log densities ``(..., K)`` that are all minus infinity by what differs.

    With :math:`x = t u` and :math:`\max |u_i| = 1`, these are, but for a constant,

    .. math:: \log w_k - \tfrac12 \log |\Sigma_k| - \tfrac12 \mu_k^T \Lambda_k \mu_k
        + t \left(\mu_k^T \Lambda_k u - \tfrac{t}{2} u^T \Lambda_k u\right),

    and the largest is taken away at each power of :math:`t`, so that nothing overflows. Rows
    ``(..., D)`` may have NaN for what is missing.
    """
    lost = (log_joint == -math.inf).all(-1)
    if known_to_hold(~lost):
        return log_joint
    log_weights, means = components.log_weights, components.means
    covariance, observed = components.covariance, ~x.isnan()
    y = torch.where(observed, x, 0)
    scale = y.abs().amax(-1, keepdim=True).clamp(min=1)
    u = (y / scale).unsqueeze(-2)
    if known_to_hold(observed):
        direction, center = covariance.whiten(u), covariance.whiten(means)
        log_determinant = covariance.log_determinant(means.shape[-1])
    else:
        observed = observed.unsqueeze(-2)
        inverse, log_determinant = observed_factor(covariance.dense(*means.shape[-2:]), observed)
        direction = (inverse @ u.unsqueeze(-1)).squeeze(-1)
        center = (inverse @ torch.where(observed, means, 0).unsqueeze(-1)).squeeze(-1)
    possible = log_weights > -math.inf
    square = direction.square().sum(-1)
    nearest = torch.where(possible, square, math.inf).amin(-1, keepdim=True)
    slope = (center * direction).sum(-1) - 0.5 * scale * (square - nearest)
    slope = torch.where(possible, slope, -math.inf)
    from_center = center.square().sum(-1).clamp(max=torch.finfo(x.dtype).max)
    constant = log_weights - 0.5 * (log_determinant + from_center)
    steepest = slope.amax(-1, keepdim=True)
    return torch.where(lost.unsqueeze(-1), constant + scale * (slope - steepest), log_joint)


def far_log_prob(log_joint: Tensor, x: Tensor, components: Components) -> Tensor:
    """Sums joint log densities over the components, with gradients also where all are lost.

    These are the gradients of the components that the rows belong to. Those with respect to the
    covariance, which no number could hold, are zero there. A graph that is recorded leaves out
    what is lost.
    """
    lost = (log_joint == -math.inf).all(-1, keepdim=True)
    if is_recorded() or known_to_hold(~lost):
        return steep_logsumexp(log_joint)
    share = settle_far_rows(log_joint, x, components).detach().softmax(-1)
    means = components.means
    belongs, observed = (lost & (share > 0)).unsqueeze(-1), ~x.isnan().unsqueeze(-2)
    deviations = torch.where(observed, x.unsqueeze(-2), means) - means
    deviations = torch.where(belongs, deviations, 0)
    fixed = components.covariance.reindex(Tensor.detach)
    if known_to_hold(observed):
        whitened = fixed.whiten(deviations)
    else:
        inverse, _ = observed_factor(fixed.dense(*means.shape[-2:]), observed)
        whitened = (inverse @ deviations.unsqueeze(-1)).squeeze(-1)
    far = share * (components.log_weights - 0.5 * whitened.square().sum(-1))
    far = torch.where(belongs.squeeze(-1), far, 0).sum(-1)
    near = steep_logsumexp(torch.where(lost, 0, log_joint))
    return torch.where(lost.squeeze(-1), far, near)
