"""Sums of joint log densities whose gradients stay right where these are steep."""

import torch
from torch import Tensor

from ..tracking import is_recorded, is_tracked, known_to_hold

__all__ = ["is_gentle", "largest_gentle", "steep_logsumexp"]


def steep_logsumexp(log_joint: Tensor) -> Tensor:
    """Sums over the last dimension, with gradients that are shares and sum to one.

    Those of torch's own are off by a factor where the sum is so large that its logarithm is lost
    in rounding: of two equal terms each would count fully.
    """
    least = torch.finfo(log_joint.dtype).min
    largest = log_joint.detach().amax(-1, keepdim=True).clamp(min=least)
    return (log_joint - largest).logsumexp(-1) + largest.squeeze(-1)


def is_gentle(log_prob: Tensor, log_joint: Tensor | None = None) -> bool:
    """Whether nobody asks for gradients of log densities, or rounding leaves these right.

    Those of components that are beyond the range are not, however small their share.
    """
    if not (log_prob.requires_grad or is_tracked(log_prob)):
        return True
    limit = largest_gentle(log_prob.dtype)
    if is_recorded() or not known_to_hold(log_prob.abs() < limit):
        return False
    lowest = -(torch.finfo(log_prob.dtype).max ** 0.5)
    return log_joint is None or known_to_hold(log_joint > lowest)


def largest_gentle(dtype: torch.dtype) -> float:
    """How large log densities may be so that their differences keep three digits."""
    return 1e-3 / torch.finfo(dtype).eps
