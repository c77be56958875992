"""When particles have forgotten where they were."""

import torch
from torch import Tensor

from .path import Particles

__all__ = ["Displacements"]

_GROWTH = 1.3**0.5
_MOVED = 0.5
_N_DENSITIES = 2


class Displacements:
    r"""How far particles have moved, after each of several moves.

    Where moves have no memory, the mean distance from the start stays where it is once it is
    reached; where they are small steps, it doubles when moves are four times as many. A quantity
    is forgotten once twice the moves take it less than :math:`\sqrt{1.3}` times as far: if
    correlations with the start fall as :math:`\rho^k`, this is where they are about 0.1, the rule
    of Buchholz, Chopin and Jacob (2021), *Adaptive tuning of Hamiltonian Monte Carlo within
    sequential Monte Carlo*. Unlike correlations, distances need not lead from one mode to another.
    Unless half of the particles moved, they say nothing.

    Args:
        start: the particles before the first move.
    """

    def __init__(self, start: Particles) -> None:
        self._start, self._position = _quantities(start), start.position
        self._moved = 0.0
        self._distances: list[Tensor] = []

    def add(self, particles: Particles) -> None:
        """Notes where the particles are after another move."""
        distance = (_quantities(particles) - self._start).abs()
        self._distances.append(distance.nan_to_num(0.0, 0.0, 0.0).mean(0))
        self._moved = float((particles.position != self._position).any(-1).double().mean())

    @property
    def growth(self) -> Tensor:
        """How much farther twice the moves took each quantity."""
        half = self._distances[len(self._distances) // 2 - 1]
        return self._distances[-1] / half.clamp(min=torch.finfo(half.dtype).tiny)

    def are_saturated(self, share: float) -> bool:
        """Whether a share of all quantities is forgotten, and both log densities are, on which
        weights and evidence rest; even numbers of moves tell.
        """
        n_moves = len(self._distances)
        if n_moves == 0 or n_moves % 2 or self._moved < _MOVED:
            return False
        forgotten = self.growth <= _GROWTH
        return bool(forgotten[-_N_DENSITIES:].all() & (forgotten.double().mean() >= share))


def _quantities(particles: Particles) -> Tensor:
    """The positions and both log densities, shape ``(S, n + 2)``."""
    densities = torch.stack([particles.reference, particles.increment], -1)
    return torch.cat([particles.position, densities], -1)
