r"""Tempered sequential Monte Carlo on one page.

Particles of several populations go from a density :math:`q` that can be sampled to the posterior
:math:`p`, along :math:`q^{1-\beta} p^\beta`. At each temperature they are weighted by what the
density gained, resampled within their population, and moved until they have forgotten where they
were (Del Moral, Doucet and Jasra 2006, *Sequential Monte Carlo samplers*). The product of the mean
weights estimates the evidence, in each population for itself; where weights have no bound, it is a
bridge over each step. Temperatures, scales and lengths of moves are learned from all populations
together.

At the posterior each particle leaves several draws, the last places of its moves: these cost
nothing more, and moves that go on cost less than another path to the posterior (Dau and Chopin
2022, *Waste-free sequential Monte Carlo*).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .forgetting import Displacements
from .moves import Moves
from .path import Particles, Path
from .resampling import systematic
from .tempering import (
    effective_share,
    log_bridge,
    log_mean_weights,
    longest_step,
    next_temperature,
)
from .tuning import Tuning

__all__ = ["Rung", "State", "init", "move_until_forgotten", "step"]


# The share of quantities that moves make the particles forget, and the fewest moves: on the way to
# the posterior it is enough that ancestors' descendants part; there the draws are to be
# independent, and two moves say little of what four would do.
_ON_THE_WAY, _AT_LAST = (0.5, 2), (0.9, 8)


@dataclass(frozen=True)
class Rung:
    """What happened at one temperature.

    Attributes:
        temperature: between zero and one.
        effective_share: of the particles, before they were resampled.
        n_moves: how many moves each particle made.
        n_gradients: how often all particles' gradients were evaluated.
        acceptance: the mean probability of acceptance.
        forgotten: whether the particles forgot where they had been.

    Example:
        >>> from pyro_ugmm.sampling import Rung
        >>> rung = Rung(0.5, 0.5, n_moves=4, n_gradients=20, acceptance=0.8, forgotten=True)
        >>> rung.n_gradients / rung.n_moves
        5.0
    """

    temperature: float
    effective_share: float
    n_moves: int
    n_gradients: int
    acceptance: float
    forgotten: bool


@dataclass(frozen=True, eq=False)
class State:
    """Where the particles stand.

    Attributes:
        particles: of all populations, one population after the other.
        log_evidence: of each population so far, shape ``(M,)``, float64.
        draws: the last places of each particle, shape ``(S, d, n)``; one, short of the posterior.
        temperature: between zero and one.
        tuning: of the moves.
        rungs: what happened at each temperature.
    """

    particles: Particles
    log_evidence: Tensor
    draws: Tensor
    temperature: float = 0.0
    tuning: Tuning = field(default_factory=Tuning)
    rungs: tuple[Rung, ...] = ()

    @property
    def increments(self) -> Tensor:
        """The log density ratios of populations and their particles, shape ``(M, N)``."""
        return self.particles.increment.reshape(len(self.log_evidence), -1)

    @property
    def is_sound(self) -> bool:
        """Whether, in each population, there is a particle of some density."""
        least = torch.finfo(self.particles.increment.dtype).min
        return bool((self.increments > least).any(-1).all())


def init(path: Path, position: Tensor, n_populations: int) -> State:
    """Begins with draws from the density at temperature zero, shape ``(S, n)``."""
    zero = torch.zeros(n_populations, dtype=torch.float64, device=position.device)
    return State(path.at(position, 0.0), zero, position.unsqueeze(1))


def step(
    path: Path,
    state: State,
    *,
    share: float = 0.5,
    most_moves: int = 32,
    draws_per_particle: int = 1,
    generator: torch.Generator | None = None,
) -> State:
    """Takes the particles to the next temperature; at the posterior, keeps draws of each."""
    increments = state.increments
    temperature = next_temperature(increments, state.temperature, share)
    if not path.is_bounded:
        temperature = min(temperature, state.temperature + longest_step(increments))
    gained = temperature - state.temperature
    log_weights = gained * increments
    ancestors = systematic(log_weights, generator)
    first = torch.arange(len(increments), device=ancestors.device).unsqueeze(-1)
    at = (first * increments.shape[1] + ancestors).flatten()
    particles = path.at(state.particles.position[at], temperature)
    effective = float(effective_share(log_weights).mean())
    state = replace(state, particles=particles, temperature=temperature)
    n_draws = draws_per_particle if temperature == 1 else 1
    state = move_until_forgotten(path, state, effective, most_moves, n_draws, generator)
    factor = (
        log_mean_weights(increments, gained)
        if path.is_bounded
        else log_bridge(increments, state.increments, gained)
    )
    return replace(state, log_evidence=state.log_evidence + factor)


def move_until_forgotten(
    path: Path,
    state: State,
    effective: float,
    most_moves: int,
    n_draws: int = 1,
    generator: torch.Generator | None = None,
) -> State:
    """Moves the particles at their temperature until they have forgotten where they were.

    Draws are of the second half of these moves, and of as many more as it takes.
    """
    moves = Moves(path, state.particles, state.temperature, state.tuning, n_draws, generator)
    displacements = Displacements(state.particles)
    share, fewest = _AT_LAST if state.temperature == 1 else _ON_THE_WAY
    while moves.count < min(fewest, most_moves) or (
        moves.count < most_moves and not displacements.are_saturated(share)
    ):
        moves.make()
        displacements.add(moves.particles)
    enough = moves.count // 2 + n_draws
    while moves.count < enough:
        moves.make()
    rung = Rung(
        temperature=state.temperature,
        effective_share=effective,
        n_moves=moves.count,
        n_gradients=moves.n_gradients,
        acceptance=moves.acceptance,
        forgotten=displacements.are_saturated(share),
    )
    return replace(
        state,
        particles=moves.particles,
        draws=moves.draws,
        tuning=moves.tuning,
        rungs=(*state.rungs, rung),
    )
