"""Sums of joint log densities whose gradients stay right where these are steep."""

import torch
from torch import Tensor

from ..tracking import is_recorded, is_tracked, known_to_hold

__all__ = ["is_gentle", "steep_logsumexp"]


def steep_logsumexp(log_joint: Tensor) -> Tensor:
    """Sums over the last dimension, with gradients that are shares and sum to one.

    Those of torch's own are off by a factor where the sum is so large that its logarithm is lost
    in rounding: of two equal terms each would count fully.
    """
    least = torch.finfo(log_joint.dtype).min
    largest = log_joint.detach().amax(-1, keepdim=True).clamp(min=least)
    return (log_joint - largest).logsumexp(-1) + largest.squeeze(-1)


def is_gentle(log_prob: Tensor) -> bool:
    """Whether nobody asks for gradients of log densities, or rounding leaves these right."""
    if not (log_prob.requires_grad or is_tracked(log_prob)):
        return True
    limit = 1e-3 / torch.finfo(log_prob.dtype).eps
    return not is_recorded() and known_to_hold(log_prob.abs() < limit)
