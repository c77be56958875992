"""The next temperature, and what the step to it says of the evidence."""

import math

from torch import Tensor

__all__ = ["effective_share", "log_mean_weights", "next_temperature"]

_BISECTIONS = 60
_LEAST_EXPONENT = -1074.0  # steps differ in orders of magnitude where a likelihood is zero


def effective_share(log_weights: Tensor) -> Tensor:
    r"""The effective share of weighted particles, :math:`(\sum w)^2 / (N \sum w^2)`.

    Args:
        log_weights: shape ``(M, N)``, of ``M`` populations of ``N`` particles.

    Returns:
        A share between zero and one for each population, shape ``(M,)``.

    Source: Kong, Liu and Wong (1994), *Sequential imputations and Bayesian missing data problems*.
    """
    n_particles = log_weights.shape[-1]
    twice_sum = 2 * log_weights.logsumexp(-1)
    share = (twice_sum - (2 * log_weights).logsumexp(-1)).exp() / n_particles
    return share.nan_to_num(0.0)


def next_temperature(increments: Tensor, temperature: float, share: float) -> float:
    """Returns the temperature at which as many particles as asked for are still effective.

    Args:
        increments: log density ratios, shape ``(M, N)``.
        temperature: the present one.
        share: of the particles, on average over populations.

    Source: Jasra, Stephens, Doucet and Tsagaris (2011), *Inference for Lévy-driven stochastic
    volatility models via adaptive sequential Monte Carlo*.
    """
    increments = increments.double()

    def effective(step: float) -> float:
        return float(effective_share(step * increments).mean())

    remaining = 1.0 - temperature
    if effective(remaining) >= share:
        return 1.0
    low, high = _LEAST_EXPONENT, math.log2(remaining)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective(2.0**middle) >= share else (low, middle)
    return min(1.0, max(temperature + 2.0**low, math.nextafter(temperature, 1.0)))


def log_mean_weights(increments: Tensor, step: float) -> Tensor:
    """The logarithm of each population's mean weight, a factor of its evidence, shape ``(M,)``."""
    increments = increments.double()
    return (step * increments).logsumexp(-1) - math.log(increments.shape[-1])
