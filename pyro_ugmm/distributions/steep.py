"""Sums of joint log densities whose gradients stay right where these are steep."""

import torch
from torch import Tensor

from ..tracking import is_recorded, is_tracked, known_to_hold

__all__ = ["is_gentle", "largest_gentle", "steep_logsumexp"]

_NEGLIGIBLE = -80.0  # next to zero, a logarithm far below what double precision can tell


def steep_logsumexp(log_joint: Tensor, dim: int = -1) -> Tensor:
    """Sums over a dimension, with gradients that are shares and sum to one.

    Those of torch's own are off by a factor where the sum is so large that its logarithm is lost
    in rounding: of two equal terms each would count fully. And it takes many times as long where
    exponentials are subnormal; what is too small for the sum has a share of zero here.
    """
    largest = log_joint.detach().amax(dim, keepdim=True)
    difference = log_joint - largest.clamp(min=torch.finfo(log_joint.dtype).min)
    terms = torch.nn.functional.threshold(difference, _NEGLIGIBLE, _NEGLIGIBLE).exp()
    return terms.sum(dim).log() + largest.squeeze(dim)


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
