"""Log densities of univariate normal distributions."""

import math

from torch import Tensor

__all__ = ["joint_log_density", "normal_log_density"]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def normal_log_density(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    r"""Evaluates :math:`\log \mathcal{N}(y \mid \mu, \sigma^2)`, standardizing before squaring.

    Standardizing first keeps all digits where the expanded quadratic loses them, and
    neither :math:`\sigma^2` nor its reciprocal is formed, so tiny scales do not underflow.
    """
    z = (value - loc) / scale
    return -0.5 * z * z - scale.log() - _HALF_LOG_TWO_PI


def joint_log_density(value: Tensor, loc: Tensor, scale: Tensor, logits: Tensor) -> Tensor:
    """The log densities of values ``(..., 1)`` or ``(..., K)`` and the components."""
    return logits + normal_log_density(value, loc, scale)
