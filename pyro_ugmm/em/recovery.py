"""What keeps a fit alive: components that lost their rows or their numbers."""

import torch
from torch import Tensor

from ..distributions import GaussianMixture
from ..processes import current
from .result import EMPTY_SHARE, Finding, concerned
from .rows import Rows
from .statistics import SufficientStatistics

__all__ = ["Recovery", "worst_rows"]

_MOST_REVIVALS = 2


def worst_rows(rows: Rows, mixture: GaussianMixture, count: int) -> Tensor:
    """Returns distinct rows where the mixture fits worst, at most ``count``, shape ``(n, D)``.

    Rows of weight zero do not count. What a row misses is filled from the mixture's mean.
    """
    found = mixture.means.new_zeros(0, mixture.n_features)
    for x, weight in rows.blocks(1 << 16):
        x = x if weight is None else x[weight > 0]
        found = _worst(torch.cat([found, x]), mixture, count)
    if current().size > 1:
        found = torch.cat(current().gather("worst rows", found.cpu())).to(found)
        found = _worst(found, mixture, count)
    return torch.where(found.isnan(), mixture.mean, found)


def _worst(x: Tensor, mixture: GaussianMixture, count: int) -> Tensor:
    # NaN equals nothing, so rows with missing entries are told apart by what stands for it.
    marked = x.nan_to_num(nan=torch.finfo(x.dtype).max).unique(dim=0)
    x = torch.where(marked == torch.finfo(x.dtype).max, torch.nan, marked)
    return x[mixture.log_prob(x).topk(min(count, len(x)), largest=False).indices]


def _finite(mixture: GaussianMixture) -> Tensor:
    """Whether a component's parameters are finite, ``(S, K)``."""
    values = mixture.covariance.values
    n_leading = 1 + mixture.covariance.per_component
    values = values.reshape(*values.shape[:n_leading], -1).isfinite().all(-1)
    return mixture.means.isfinite().all(-1) & values.reshape(len(values), -1)


class Recovery:
    """Revives empty components, and takes back parameters that are not finite.

    Args:
        rows: the data.
        n_restarts: how many mixtures are fitted at once.
        n_components: of each.
    """

    def __init__(self, rows: Rows, n_restarts: int, n_components: int) -> None:
        self._rows = rows
        self._revivals = torch.zeros(n_restarts, n_components, dtype=torch.long)
        self._raised = torch.zeros(n_restarts, n_components, dtype=torch.bool)
        self.events: list[list[Finding]] = [[] for _ in range(n_restarts)]

    def apply(
        self,
        alive: list[int],
        mixture: GaussianMixture,
        raised: Tensor,
        before: GaussianMixture,
        statistics: SufficientStatistics,
        iteration: int,
        may_revive: bool,
    ) -> tuple[GaussianMixture, list[bool]]:
        """Returns the mixtures of the restarts ``alive`` with unsound components replaced, and
        whether a component of each was revived.
        """
        revived = [False] * len(alive)
        empty = statistics.mass < EMPTY_SHARE * statistics.weight
        total = mixture.means.sum() + mixture.covariance.values.sum()
        if not ((empty | raised).any() | ~total.isfinite()):
            return mixture, revived
        self._note(alive, raised.cpu(), iteration, mixture.covariance.per_component)
        unsound = ~_finite(mixture)
        keep = unsound | empty
        if not keep.any():
            return mixture, revived
        weights = mixture.weights.nan_to_num(nan=0.0)
        means = torch.where(keep.unsqueeze(-1), before.means, mixture.means)
        values = mixture.covariance.values
        back = keep if mixture.covariance.per_component else unsound.any(-1)
        back = back.reshape(*back.shape, *(1,) * (values.dim() - back.dim()))
        values = torch.where(back, before.covariance.values, values)
        for i, restart in enumerate(alive):
            lost = empty[i].nonzero()[:, 0].tolist() if may_revive else []
            lost = [k for k in lost if self._revivals[restart, k] < _MOST_REVIVALS]
            if lost:
                single = _mixture(weights[i], means[i], mixture, values[i])
                found = worst_rows(self._rows, single, len(lost))
                lost = lost[: len(found)]
                means[i, lost] = found
                if mixture.covariance.per_component:
                    values[i, lost] = torch.tensordot(weights[i], values[i], 1)
                weights[i, lost] = 1.0 / mixture.n_components
                self._note_revival(restart, lost, iteration)
                revived[i] = bool(lost)
        weights = weights / weights.sum(-1, keepdim=True)
        return _mixture(weights, means, mixture, values), revived

    def _note_revival(self, restart: int, components: list[int], iteration: int) -> None:
        message = (
            "no row was left to it; it was moved to where the mixture fitted worst, with the "
            "average covariance. Often, fewer components are enough"
        )
        for k in components:
            self._revivals[restart, k] += 1
            self.events[restart].append(Finding(k, "revived", message, iteration + 1))

    def _note(self, alive: list[int], raised: Tensor, iteration: int, per_component: bool) -> None:
        message = (
            "reg_covar did not make the covariance positive definite in this precision; its "
            "diagonal was raised, relatively, until it was. Raise reg_covar, standardize the "
            "features, or use float64"
        )
        for restart, flags in zip(alive, raised, strict=True):
            for k in concerned(flags & ~self._raised[restart], per_component):
                self.events[restart].append(Finding(k, "singular", message, iteration + 1))
            self._raised[restart] |= flags


def _mixture(
    weights: Tensor, means: Tensor, like: GaussianMixture, values: Tensor
) -> GaussianMixture:
    covariance, _ = type(like.covariance).regularized(values, 0.0)
    return GaussianMixture(weights, means, covariance, missing=like.missing, validate_args=False)
