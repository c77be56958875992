"""Particles evaluated by several processes, of which each knows all."""

from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from ..processes import Processes
from .path import Particles, Path

__all__ = ["SharedPath"]

_EVALUATED = ("reference", "increment", "gradient")


@dataclass(frozen=True)
class SharedPath(Path):
    """A path along which each process evaluates a part of the particles, for all.

    All else is done by each process alike, from the same random numbers, so that all have the
    same particles, and the same as one process by itself.

    Args:
        processes: that have the same particles.
    """

    processes: Processes = field(default_factory=Processes)

    @classmethod
    def of(cls, path: Path, processes: Processes) -> Path:
        """Shares a path, if there are other processes."""
        if processes.size == 1:
            return path
        return cls(**{f.name: getattr(path, f.name) for f in fields(path)}, processes=processes)

    def at(self, position: Tensor, temperature: float) -> Particles:
        """Evaluates positions, of which this process takes a part."""
        size, rank = self.processes.size, self.processes.rank
        first, end = (len(position) * edge // size for edge in (rank, rank + 1))
        nothing = position.new_zeros(len(position))
        whole = Particles(position, nothing, nothing.clone(), torch.zeros_like(position))
        if first < end:
            part = super().at(position[first:end], temperature)
            for name in _EVALUATED:
                getattr(whole, name)[first:end] = getattr(part, name)
        sums = self.processes.all_reduce([getattr(whole, name) for name in _EVALUATED])
        return replace(whole, **dict(zip(_EVALUATED, sums, strict=True)))
