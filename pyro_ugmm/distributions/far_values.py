"""Values so far from all components that every density underflows, even in logarithms."""

import math

import torch
from torch import Tensor

__all__ = ["settle_far_values"]


def settle_far_values(value: Tensor, loc: Tensor, scale: Tensor, logits: Tensor) -> Tensor:
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
