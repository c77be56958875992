"""Hamiltonian moves of all particles at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .path import Particles, Path

__all__ = ["Move", "move"]

_MOST_ENERGY = 1000.0


@dataclass(frozen=True, eq=False)
class Move:
    """One trajectory of each particle.

    Attributes:
        particles: where they are after it.
        proposed: where the trajectories ended, shape ``(S, n)``.
        velocity: with which they arrived there, shape ``(S, n)``.
        acceptance: the probability with which each was accepted, shape ``(S,)``.
        time: how long the trajectories were.
    """

    particles: Particles
    proposed: Tensor
    velocity: Tensor
    acceptance: Tensor
    time: float


def move(
    path: Path,
    particles: Particles,
    temperature: float,
    scale: Tensor,
    step_size: float,
    n_steps: int,
    generator: torch.Generator | None = None,
) -> Move:
    r"""Moves particles along Hamiltonian trajectories, by the leapfrog, and accepts or rejects.

    .. math:: H(u, v) = -\log \pi_\beta(u) + \tfrac12 \lVert v / s \rVert^2

    with velocities :math:`v \sim \mathcal{N}(0, \mathrm{diag}(s^2))`: the mass is :math:`s^{-2}`.

    Args:
        path: the densities.
        particles: where they are.
        temperature: of the density that is left as it is.
        scale: :math:`s`, shape ``(n,)``.
        step_size: of the leapfrog, in units of ``scale``.
        n_steps: of the leapfrog.
        generator: of random numbers.

    Source: Duane, Kennedy, Pendleton and Roweth (1987), *Hybrid Monte Carlo*; Neal (2011), *MCMC
    using Hamiltonian dynamics*.
    """
    here, variance = particles.position, scale.square()
    noise = torch.randn(here.shape, generator=generator, dtype=here.dtype, device=here.device)
    velocity = start = noise * scale
    now = particles
    for _ in range(n_steps):
        velocity = velocity + 0.5 * step_size * variance * now.gradient
        now = path.at(now.position + step_size * velocity, temperature)
        velocity = velocity + 0.5 * step_size * variance * now.gradient
    gained = now.log_density(temperature) - particles.log_density(temperature)
    energy = 0.5 * ((start / scale).square().sum(-1) - (velocity / scale).square().sum(-1))
    log_ratio = (gained + energy).nan_to_num(-torch.inf)
    acceptance = torch.where(log_ratio < -_MOST_ENERGY, 0.0, log_ratio.clamp(max=0.0).exp())
    chance = torch.rand(len(here), generator=generator, dtype=here.dtype, device=here.device)
    moved = now.where(chance < acceptance, particles)
    return Move(moved, now.position, velocity, acceptance, step_size * n_steps)
