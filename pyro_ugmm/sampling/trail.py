"""Where particles were along their moves."""

import torch
from torch import Tensor

__all__ = ["Trail"]


class Trail:
    r"""The last places of particles, evenly spaced over about half of their moves.

    However many the moves are, at most twice as many places are held as are asked for: whenever
    there would be more, every other one is given up. Source of the use of all of them: Dau and
    Chopin (2022), *Waste-free sequential Monte Carlo*.

    Args:
        length: how many places of each particle are asked for.
    """

    def __init__(self, length: int) -> None:
        self._length, self._stride, self._n_moves = length, 1, 0
        self._places: list[Tensor] = []

    def add(self, position: Tensor) -> None:
        """Notes where the particles are after another move, shape ``(S, n)``."""
        self._n_moves += 1
        if self._n_moves % self._stride:
            return
        if len(self._places) == 2 * self._length:
            self._places = self._places[1::2]
            self._stride *= 2
        if self._n_moves % self._stride == 0:
            self._places.append(position)

    @property
    def last(self) -> Tensor:
        """The last places of each, shape ``(S, length, n)``; fewer after fewer moves."""
        return torch.stack(self._places[-self._length :], 1)
