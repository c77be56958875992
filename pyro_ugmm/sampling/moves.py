"""Moves of all particles at one temperature, one after the other."""

import torch
from torch import Tensor

from .hamiltonian import move
from .path import Particles, Path
from .trail import Trail
from .tuning import Tuning, scales

__all__ = ["Moves"]


class Moves:
    """Makes moves, learns from them how long the next ones are, and counts.

    Args:
        path: the densities.
        particles: where they are.
        temperature: at which they move.
        tuning: of the moves.
        n_draws: how many of each particle's last places to keep.
        generator: of random numbers.

    Attributes:
        particles: where they are by now.
        tuning: of the next move.
        count: how many moves each particle made.
        n_gradients: how often all particles' gradients were evaluated.
    """

    def __init__(
        self,
        path: Path,
        particles: Particles,
        temperature: float,
        tuning: Tuning,
        n_draws: int,
        generator: torch.Generator | None,
    ) -> None:
        self._path, self._temperature, self._generator = path, temperature, generator
        self._scale = scales(particles.position, particles.gradient)
        self._trail, self._accepted = Trail(n_draws), 0.0
        self.particles, self.tuning = particles, tuning
        self.count, self.n_gradients = 0, 1

    def make(self) -> None:
        """Makes another one."""
        before, step_size, n_steps = self.particles, self.tuning.step_size, self.tuning.n_steps
        options = self._scale, step_size, n_steps, self._generator
        made = move(self._path, before, self._temperature, *options)
        self.tuning = self.tuning.after(made, before.position, self._scale)
        self.particles = made.particles
        self._trail.add(made.particles.position)
        self.count, self.n_gradients = self.count + 1, self.n_gradients + n_steps
        self._accepted += float(made.acceptance.mean())

    @property
    def acceptance(self) -> float:
        """The mean probability of acceptance."""
        return self._accepted / max(self.count, 1)

    @property
    def draws(self) -> Tensor:
        """The places kept, shape ``(S, n_draws, n)``."""
        return self._trail.last
