r"""Whether numbers in [0, 1] are drawn evenly: an exact test, and the band of their distribution.

Of :math:`n` even numbers, :math:`c_k` are below :math:`z_k = k / K`, each binomial. The statistic
is the least two-sided probability of a :math:`c_k`, so that all points count alike; what chance
makes of the least of all follows from Poisson processes of :math:`n` points, with no simulation.
Source: Säilynoja, Bürkner and Vehtari (2022), *Graphical test for discrete uniformity and its
applications*, arXiv:2103.10522; for the recursion, Moscovich and Nadler (2017), *Fast calculation
of boundary crossing probabilities for Poisson processes*.
"""

import functools

import numpy as np

__all__ = ["even_band", "even_p_value", "even_points"]

_N_POINTS = 50
_HALVINGS = 40
_ROUNDING = 1e-9


def even_points() -> np.ndarray:
    """The points at which distribution functions are compared."""
    return np.arange(1, _N_POINTS) / _N_POINTS


@functools.lru_cache(maxsize=16)
def _tails(n: int) -> np.ndarray:
    """The two-sided probability of each count at each point, ``(K - 1, n + 1)``."""
    from scipy.stats import binom

    counts, points = np.arange(n + 1), even_points()[:, None]
    return 2 * np.minimum(binom.cdf(counts, n, points), binom.sf(counts - 1, n, points))


def _chance(n: int, limit: float) -> float:
    """The probability that a two-sided probability is at most ``limit`` at one of the points."""
    from scipy.stats import poisson

    increments = poisson.pmf(np.arange(n + 1), n / _N_POINTS)
    inside = np.eye(1, n + 1)[0]
    for tails in _tails(n):
        inside = np.convolve(inside, increments)[: n + 1] * (tails > limit)
    return 1 - float(inside @ increments[::-1] / poisson.pmf(n, n))


def _counts(values: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(values), even_points(), side="right")


def even_p_value(values: np.ndarray) -> float:
    """The p-value of the hypothesis that numbers ``(n,)`` are drawn evenly from [0, 1]."""
    tails = _tails(len(values))
    least = tails[np.arange(len(tails)), _counts(values)].min()
    return float(np.clip(_chance(len(values), least * (1 + _ROUNDING)), 0, 1))


@functools.lru_cache(maxsize=16)
def even_band(n: int, probability: float) -> tuple[np.ndarray, np.ndarray]:
    """Limits, at all points, that the distribution function of ``n`` numbers keeps together."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _chance(n, middle) > 1 - probability else (middle, high)
    inside = _tails(n) > low
    return inside.argmax(1) / n, (n - inside[:, ::-1].argmax(1)) / n
