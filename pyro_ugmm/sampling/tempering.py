"""The next temperature, and what the step to it says of the evidence."""

import math

import torch
from torch import Tensor

__all__ = ["effective_share", "log_bridge", "log_mean_weights", "longest_step", "next_temperature"]

_BISECTIONS = 60
_MOST_TAIL = 0.5  # where a variance ends
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


def longest_step(increments: Tensor) -> float:
    r"""The longest step whose weights :math:`e^{\Delta d}` have a variance, by the look of them.

    Where a guide is narrower than the posterior, the ratios :math:`d` have an exponential tail, and
    weights one of Pareto's with shape :math:`k = \Delta \theta`, which few particles do not show by
    their effective share. :math:`\theta` is estimated by the mean excess of the largest ratios, and
    :math:`k` kept at a half.

    Args:
        increments: log density ratios, shape ``(M, N)``.

    Source: Hill (1975), *A simple general approach to inference about the tail of a distribution*;
    for how many are the largest, Vehtari and others (2024), *Pareto smoothed importance sampling*.
    """
    alive = increments[increments > torch.finfo(increments.dtype).min].double()
    n_largest = int(min(0.2 * len(alive), 3 * len(alive) ** 0.5))
    if n_largest == 0:
        return math.inf
    largest = alive.topk(n_largest + 1).values
    excess = float((largest - largest[-1]).sum()) / n_largest
    return _MOST_TAIL / excess if excess > 0 else math.inf


def log_bridge(before: Tensor, after: Tensor, step: float) -> Tensor:
    r"""The logarithm of a factor of the evidence, from particles on both sides of a step.

    It solves :math:`\sum_i \sigma(w_i - c) = \sum_i \sigma(c - w'_i)` for :math:`c`, with log
    weights :math:`w` of particles before the step and :math:`w'` of those after it. Unlike a mean
    of weights it does not rest on the few largest.

    Args:
        before: log density ratios of particles before the step, shape ``(M, N)``.
        after: those of particles that were moved after it, shape ``(M, N)``.
        step: the difference of temperatures.

    Returns:
        One for each population, shape ``(M,)``.

    Source: Bennett (1976), *Efficient estimation of free energy differences from Monte Carlo data*;
    Meng and Wong (1996), *Simulating ratios of normalizing constants via a simple identity*.
    """
    n_particles, least = before.shape[-1], torch.finfo(before.dtype).min
    both = torch.cat([before, after], -1)
    alive, both = both > least, step * both.double()
    low = both.where(alive, torch.inf).amin(-1) - math.log(n_particles)
    high = both.amax(-1)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        centered = both - middle.unsqueeze(-1)
        gap = centered[:, :n_particles].sigmoid().sum(-1)
        gap = gap - (-centered[:, n_particles:]).sigmoid().sum(-1)
        low, high = torch.where(gap > 0, middle, low), torch.where(gap > 0, high, middle)
    return 0.5 * (low + high)
