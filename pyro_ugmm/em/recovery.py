"""What keeps a fit alive: components that lost their rows or their numbers."""

from collections.abc import Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from ..distributions import Covariance, GaussianMixture
from .frozen import NOTHING, Frozen
from .result import EMPTY_SHARE, Finding
from .rows import Rows
from .state import EMState
from .worst_rows import worst_rows

__all__ = ["Recovery"]

_MOST_REVIVALS = 2


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
        frozen: what may not be moved.
    """

    def __init__(
        self, rows: Rows, n_restarts: int, n_components: int, frozen: Frozen = NOTHING
    ) -> None:
        self._rows, self._frozen = rows, frozen
        self._revivals = torch.zeros(n_restarts, n_components, dtype=torch.long, device="cpu")
        self._singular = torch.zeros(n_restarts, n_components, dtype=torch.bool, device="cpu")
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
        sound = _mixture(weights, means, covariance, before.mixture)
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
        can_move = empty & self._frozen.can_move(mixture.weights)
        lost = {i: self._lost(restart, can_move[i]) for i, restart in enumerate(restarts)}
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
        shares = mixture.weights / mixture.weights.sum(-1, keepdim=True)
        covariance = covariance.where(moved, covariance.pooled(shares))
        weights = torch.where(moved, 1.0 / mixture.n_components, mixture.weights)
        return _mixture(weights, means, covariance, mixture), moved.any(-1).tolist()

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
    weights: Tensor, means: Tensor, covariance: Covariance, like: GaussianMixture
) -> GaussianMixture:
    """The mixture of parameters that are sound, whose weights sum to what those of another do."""
    covariance, _ = covariance.regularized(0.0)
    share = like.weights.sum(-1, keepdim=True)
    weights = weights * (share / weights.sum(-1, keepdim=True))
    return GaussianMixture(weights, means, covariance, missing=like.missing, validate_args=False)
