"""The rows that mixtures fit worst."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..distributions import GaussianMixture
from ..processes import current
from .rows import Rows

__all__ = ["worst_rows"]

_SPARE_ROWS = 64
_BLOCK_ROWS = 1 << 16


def worst_rows(rows: Rows, mixtures: Sequence[GaussianMixture], counts: list[int]) -> list[Tensor]:
    """Returns distinct rows where each mixture fits worst, in one reading of all rows.

    Of each at most as many as its count, shape ``(n, D)``. Rows of weight zero do not count. What
    a row misses is filled from the mixture's mean.
    """
    worst = [_Worst(mixture, count) for mixture, count in zip(mixtures, counts, strict=True)]
    for x, weight in rows.blocks(_BLOCK_ROWS):
        x = x if weight is None else x[weight > 0]
        for one in worst:
            one.add(x, one.mixture.log_prob(x))
    if current().size > 1:
        _gather(worst)
    return [torch.where(one.rows.isnan(), one.mixture.mean, one.rows) for one in worst]


def _gather(worst: list["_Worst"]) -> None:
    """Finds the worst rows of all processes."""
    mine = [(one.rows.cpu(), one.densities.cpu()) for one in worst]
    everyones = current().gather("worst rows", mine)
    for one, *gathered in zip(worst, *everyones, strict=True):
        rows, densities = (torch.cat(parts).to(one.rows) for parts in zip(*gathered, strict=True))
        one.clear()
        one.add(rows, densities)


class _Worst:
    """The distinct rows of lowest density under a mixture, of all that were added."""

    def __init__(self, mixture: GaussianMixture, count: int) -> None:
        self.mixture, self._count = mixture, count
        self.clear()

    def clear(self) -> None:
        means = self.mixture.means
        self.rows, self.densities = means.new_zeros(0, means.shape[-1]), means.new_zeros(0)

    def add(self, x: Tensor, densities: Tensor) -> None:
        """Adds rows ``(B, D)`` with their log densities ``(B,)``."""
        few = min(len(x), 8 * self._count + _SPARE_ROWS)
        at = densities.topk(few, largest=False).indices
        lowest = _distinct(x[at], densities[at])
        if len(lowest[0]) < self._count and few < len(x):  # the worst are copies
            lowest = _distinct(x, densities)
        rows, densities = torch.cat([self.rows, lowest[0]]), torch.cat([self.densities, lowest[1]])
        rows, densities = _distinct(rows, densities)
        self.rows, self.densities = rows[: self._count], densities[: self._count]


def _distinct(x: Tensor, densities: Tensor) -> tuple[Tensor, Tensor]:
    """Leaves one row of those that are equal; those of lowest density come first."""
    order = densities.argsort(stable=True)
    x, densities = x[order], densities[order]
    # NaN equals nothing, so rows with missing entries are told apart by what stands for it.
    marked = x.nan_to_num(nan=torch.finfo(x.dtype).max)
    _, group = marked.unique(dim=0, return_inverse=True)
    places = torch.arange(len(x), device=x.device)
    first = torch.full_like(places, len(x)).scatter_reduce_(0, group, places, "amin")
    at = first[first < len(x)].sort().values
    return x[at], densities[at]
