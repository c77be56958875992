"""Values so far from all components that every density underflows, even in logarithms."""

import math

import torch
from torch import Tensor

from ..tracking import is_recorded, known_to_hold
from .normal import joint_log_density
from .steep import largest_gentle, steep_logsumexp

__all__ = ["far_log_prob", "far_responsibilities"]


def _settled(value: Tensor, loc: Tensor, scale: Tensor, logits: Tensor) -> Tensor:
    r"""Returns what tells the components ``(..., K)`` apart at far values ``(..., 1)``.

    In units of the widest component, and from its mean, with :math:`y = t u` and
    :math:`u = \pm 1`, log densities are, but for a constant,

    .. math:: \log w_k - \log \sigma_k - \frac{\mu_k^2}{2 \sigma_k^2}
        + t \left(\frac{\mu_k u}{\sigma_k^2} - \frac{t}{2} (\sigma_k^{-2} - 1)\right),

    and the largest is taken away at each power of :math:`t`, so that nothing overflows. Infinite
    values are taken for the largest number.
    """
    possible = logits > -math.inf
    widest, at = torch.where(possible, scale, 0).max(-1, keepdim=True)
    center = loc.gather(-1, at)
    mean, precision = (loc - center) / widest, (widest / scale).square()
    y = (value - center) / widest
    largest = torch.finfo(loc.dtype).max
    t = y.abs().clamp(max=largest)
    slope = y.sign() * mean * precision - 0.5 * t * (precision - 1)
    slope = torch.where(possible & slope.isfinite(), slope, -math.inf)
    square = ((loc - center) / scale).square().clamp(max=largest)
    constant = logits - scale.log() - 0.5 * square
    return constant + t * (slope - slope.amax(-1, keepdim=True))


def _without_lost(value: Tensor, loc: Tensor, scale: Tensor, logits: Tensor) -> Tensor:
    """Joint log densities without a gradient of those whose share is zero.

    What no number holds of it would be NaN, times zero.
    """
    counts = joint_log_density(value, loc, scale, logits).detach().softmax(-1) > 0
    near = joint_log_density(torch.where(counts, value, loc), loc, scale, logits)
    return torch.where(counts, near, -math.inf)


def far_log_prob(value: Tensor, loc: Tensor, scale: Tensor, logits: Tensor) -> Tensor:
    """The log density at values ``(..., 1)``, with gradients also where it is lost.

    These are the gradients of the components that the values belong to. Those with respect to
    scales, which no number could hold, are zero there. A graph that is recorded leaves out what
    is lost.
    """
    with torch.no_grad():
        log_joint = joint_log_density(value, loc, scale, logits)
        lost = (log_joint == -math.inf).all(-1, keepdim=True)
    if is_recorded() or known_to_hold(~lost):
        return steep_logsumexp(_without_lost(value, loc, scale, logits))
    with torch.no_grad():
        share = torch.where(lost, _settled(value, loc, scale, logits), 0).softmax(-1)
    belongs = lost & (share > 0)
    z = (torch.where(belongs, value, loc) - loc) / scale.detach()
    far = torch.where(belongs, share * (logits - 0.5 * z * z), 0).sum(-1)
    near = _without_lost(torch.where(lost, loc, value), loc, scale, logits)
    return torch.where(lost.squeeze(-1), far, steep_logsumexp(near))


def far_responsibilities(value: Tensor, loc: Tensor, scale: Tensor, logits: Tensor) -> Tensor:
    """Responsibilities, also where rounding or overflow leave nothing of the differences.

    There what is lost is replaced, without a change of gradients that are finite.
    """
    log_joint = joint_log_density(value, loc, scale, logits).detach()
    far = log_joint.amax(-1, keepdim=True) < -largest_gentle(log_joint.dtype)
    with torch.no_grad():
        settled = _settled(value, loc, scale, logits)
    counts = torch.where(far, settled, log_joint).softmax(-1) > 0
    counts = counts & (log_joint > -math.inf)
    near = joint_log_density(torch.where(counts, value, loc), loc, scale, logits)
    change = torch.where(counts, near - near.detach(), 0)
    return torch.where(far, settled, log_joint).add(change).softmax(-1)
