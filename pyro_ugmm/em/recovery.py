"""What keeps a fit alive: components that lost their rows or their numbers."""

from collections.abc import Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from ..distributions import Covariance, GaussianMixture
from ..processes import current
from .result import EMPTY_SHARE, Finding
from .rows import Rows
from .state import EMState

__all__ = ["Recovery", "worst_rows"]

_MOST_REVIVALS = 2
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


def _is_in_range(mixture: GaussianMixture) -> Tensor:
    """Whether a component's parameters are as large as the data's deviations may be, ``(S, K)``."""
    largest = torch.finfo(mixture.means.dtype).max / 1e3
    return (mixture.means.square().sum(-1) < largest) & mixture.covariance.is_finite(largest)


class Recovery:
    """Revives empty components, and takes back parameters that are beyond the numbers' range.

    Args:
        rows: the data.
        n_restarts: how many mixtures are fitted.
        n_components: of each.
    """

    def __init__(self, rows: Rows, n_restarts: int, n_components: int) -> None:
        self._rows = rows
        self._revivals = torch.zeros(n_restarts, n_components, dtype=torch.long)
        self._singular = torch.zeros(n_restarts, n_components, dtype=torch.bool)
        self.events: list[list[Finding]] = [[] for _ in range(n_restarts)]

    def events_until(self, restart: int, n_steps: int) -> tuple[Finding, ...]:
        """Returns what befell a restart in its first steps."""
        return tuple(event for event in self.events[restart] if (event.iteration or 0) <= n_steps)

    def state(self) -> dict[str, Any]:
        """Returns what :meth:`load` takes back."""
        events = [[asdict(event) for event in of_restart] for of_restart in self.events]
        return {"revivals": self._revivals, "singular": self._singular, "events": events}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from where another one stood."""
        self._revivals, self._singular = state["revivals"], state["singular"]
        self.events = [[Finding(**event) for event in events] for events in state["events"]]

    def apply(
        self,
        restarts: Sequence[int],
        before: EMState,
        mixture: GaussianMixture,
        singular: Tensor,
        *,
        may_revive: bool,
    ) -> tuple[GaussianMixture, list[bool], list[bool]]:
        """Returns the mixtures of restarts after an M-step, with unsound components replaced;
        whether a component of each was revived; and whether one that has rows was beyond the range.
        """
        statistics = before.statistics
        assert statistics is not None
        revived = broken = [False] * len(restarts)
        empty = statistics.mass < (EMPTY_SHARE * statistics.weight).to(statistics.mass)
        unsound = ~_is_in_range(mixture)
        replaced = unsound | empty
        if not (replaced | singular).any():
            return mixture, revived, broken
        self._note_singular(restarts, singular.cpu(), before.n_steps, type(mixture.covariance))
        if not replaced.any():
            return mixture, revived, broken
        broken = (unsound & ~empty).any(-1).tolist()
        weights = mixture.weights.nan_to_num(nan=0.0)
        means = torch.where(replaced.unsqueeze(-1), before.mixture.means, mixture.means)
        covariance = mixture.covariance.where(replaced, before.mixture.covariance)
        sound = _mixture(weights, means, covariance, mixture.missing)
        if not may_revive:
            return sound, revived, broken
        sound, revived = self._revived(restarts, sound, empty, before.n_steps)
        return sound, revived, broken

    def _revived(
        self, restarts: Sequence[int], mixture: GaussianMixture, empty: Tensor, n_steps: int
    ) -> tuple[GaussianMixture, list[bool]]:
        """Moves empty components to where the mixtures fit worst, and gives them the average
        covariance; also returns of which restarts.
        """
        lost = {i: self._lost(restart, empty[i]) for i, restart in enumerate(restarts)}
        lost = {i: components for i, components in lost.items() if components}
        if not lost:
            return mixture, [False] * len(restarts)
        singles = [mixture.reindex(itemgetter(i)) for i in lost]
        worst = worst_rows(self._rows, singles, [len(k) for k in lost.values()])
        means, moved = mixture.means.clone(), torch.zeros_like(empty)
        for (i, components), rows in zip(lost.items(), worst, strict=True):
            components = components[: len(rows)]
            means[i, components] = rows
            moved[i, components] = True
            self._note_revival(restarts[i], components, n_steps)
        covariance = mixture.covariance
        covariance = covariance.where(moved, covariance.pooled(mixture.weights))
        weights = torch.where(moved, 1.0 / mixture.n_components, mixture.weights)
        return _mixture(weights, means, covariance, mixture.missing), moved.any(-1).tolist()

    def _lost(self, restart: int, empty: Tensor) -> list[int]:
        """Returns the empty components that may be revived once more."""
        lost = empty.nonzero()[:, 0].tolist()
        return [k for k in lost if self._revivals[restart, k] < _MOST_REVIVALS]

    def _note_revival(self, restart: int, components: list[int], n_steps: int) -> None:
        message = (
            "no row was left to it; it was moved to where the mixture fitted worst, with the "
            "average covariance. Often, fewer components are enough"
        )
        for k in components:
            self._revivals[restart, k] += 1
            self.events[restart].append(Finding(k, "revived", message, n_steps + 1))

    def _note_singular(
        self,
        restarts: Sequence[int],
        singular: Tensor,
        n_steps: int,
        structure: type[Covariance],
    ) -> None:
        message = (
            "reg_covar did not make the covariance positive definite in this precision; its "
            "diagonal was raised, relatively, until it was. Raise reg_covar, standardize the "
            "features, or use float64"
        )
        for restart, flags in zip(restarts, singular, strict=True):
            for k in structure.concerned(flags & ~self._singular[restart]):
                self.events[restart].append(Finding(k, "singular", message, n_steps + 1))
            self._singular[restart] |= flags


def _mixture(
    weights: Tensor, means: Tensor, covariance: Covariance, missing: str
) -> GaussianMixture:
    covariance, _ = covariance.regularized(0.0)
    weights = weights / weights.sum(-1, keepdim=True)
    return GaussianMixture(weights, means, covariance, missing=missing, validate_args=False)
