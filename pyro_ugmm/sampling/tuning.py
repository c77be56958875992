"""Step size and trajectory length of Hamiltonian moves, learned from the particles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from .hamiltonian import Move

__all__ = ["Tuning", "scales"]

# One step size serves all particles, those in narrow places too: there 0.65, the best for one
# normal density, is nearly zero, and particles stay.
_WANTED_ACCEPTANCE = 0.9
_STEP_RATE, _TIME_RATE, _DECAY = 0.5, 0.1, 0.9
_LEAST_STEP, _MOST_STEP = 1e-5, 2.0
_LEAST_TIME, _MOST_TIME = 0.05, 50.0
_MOST_STEPS = 64
_TINY = 1e-30


@dataclass(frozen=True)
class Tuning:
    """How long moves are, and in what steps, in units of the scales.

    Attributes:
        step_size: of the leapfrog; it follows an acceptance of 0.9.
        time: the longest trajectory; it follows the gradient of the expected squared change of the
            distance from the center (Hoffman, Radul and Sountsov 2021, *An adaptive MCMC scheme
            for setting trajectory lengths in Hamiltonian Monte Carlo*).
        size: a running mean of that gradient's square.
        n_moves: how many moves it was learned from.
    """

    step_size: float = 0.2
    time: float = 1.5
    size: float = 0.0
    n_moves: int = 0

    @property
    def n_steps(self) -> int:
        """The leapfrog steps of the next trajectory, a share of the longest that varies."""
        share = _van_der_corput(self.n_moves + 1)
        return max(1, min(_MOST_STEPS, math.ceil(share * self.time / self.step_size)))

    def after(self, move: Move, before: Tensor, scale: Tensor) -> Tuning:
        """Learns from a move that began at positions ``before``."""
        acceptance = float(move.acceptance.mean())
        step_size = self.step_size * math.exp(_STEP_RATE * (acceptance - _WANTED_ACCEPTANCE))
        slope = _slope(move, before, scale) * self.time
        size = _DECAY * self.size + (1 - _DECAY) * slope**2
        unit = math.sqrt(size / (1 - _DECAY ** (self.n_moves + 1))) + _TINY
        time = self.time * math.exp(_TIME_RATE * max(-1.0, min(1.0, slope / unit)))
        step_size = min(max(step_size, _LEAST_STEP), _MOST_STEP)
        time = min(max(time, _LEAST_TIME), _MOST_TIME, _MOST_STEPS * step_size)
        return replace(
            self,
            step_size=step_size,
            time=max(time, step_size),
            size=size,
            n_moves=self.n_moves + 1,
        )


def _van_der_corput(n: int) -> float:
    """The n-th number of a sequence that fills (0, 1) evenly."""
    value, part = 0.0, 0.5
    while n:
        value, part, n = value + part * (n & 1), 0.5 * part, n >> 1
    return value


def _slope(move: Move, before: Tensor, scale: Tensor) -> float:
    """How the squared change of the distance from the center grows with time."""
    weight = move.acceptance / move.acceptance.sum().clamp(min=_TINY)
    start, end = before / scale, move.proposed / scale
    start = start - start.mean(0)
    end = end - weight @ end.nan_to_num(0.0, 0.0, 0.0)
    change = end.square().sum(-1) - start.square().sum(-1)
    growth = (end * (move.velocity / scale)).sum(-1)
    slope = (change * growth).nan_to_num(0.0, 0.0, 0.0)
    return float(weight @ slope) if bool(slope.isfinite().all()) else 0.0


def scales(position: Tensor, gradient: Tensor) -> Tensor:
    r"""Scales of moves, :math:`s_i^2 = \mathrm{sd}(u_i) / \mathrm{sd}(g_i)`, shape ``(n,)``.

    They are the standard deviations of independent Gaussians. Of several modes, the gradients know
    how wide each is, and the positions how far they are apart (Seyboldt, Carlson and Carpenter
    2026, *Preconditioning Hamiltonian Monte Carlo by minimizing Fisher divergence*). Both are
    estimated by quantiles, which a few far particles do not move.
    """
    return (_spread(position) / _spread(gradient)).sqrt().clamp(1e-12, 1e6)


def _spread(values: Tensor) -> Tensor:
    """Half of the range of the middle 68 percent, shape ``(n,)``."""
    ranked, last = values.sort(0).values, len(values) - 1  # torch.quantile takes 2^24 numbers
    low, high = ranked[round(0.16 * last)], ranked[round(0.84 * last)]
    return (0.5 * (high - low)).clamp(min=_TINY)
