"""What the fits of many groups return."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..checks import check_integer
from ..distributions import GaussianMixture
from ..status import Status

__all__ = ["GroupFits"]

_MOST_SAID = 10


@dataclass(frozen=True, eq=False, repr=False)
class GroupFits:
    """The outcome of a fit by EM to each of ``G`` groups of rows.

    Attributes:
        mixture: of batch shape ``(G,)``, detached. One that was not fitted, as it has no rows or
            the keyboard came before it, has components that are all as wide as the rows of all.
        statuses: how each fit ended.
        reasons: the same in words, with figures.
        n_iter: the number of M-steps taken, int64, ``(G,)``.
        log_likelihood: the mean log-likelihood per row, in nats, float64, ``(G,)``; NaN where there
            was no fit.
        n_rows: how many rows each has, int64, ``(G,)``.
        reg_covar: what was added to the variances.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import fit_groups
        >>> x = torch.cat([torch.randn(60, 1) - 5, torch.randn(60, 1) + 5])
        >>> fits = fit_groups(x, torch.arange(120) % 4, n_components=2, seed=0)
        >>> fits
        GroupFits(4 groups, 4 converged)
        >>> fits[0].means.shape, fits.mixture.log_prob(x[:1]).shape
        (torch.Size([2, 1]), torch.Size([4]))
    """

    mixture: GaussianMixture
    statuses: tuple[Status, ...]
    reasons: tuple[str, ...]
    n_iter: Tensor
    log_likelihood: Tensor
    n_rows: Tensor
    reg_covar: float

    @cached_property
    def converged(self) -> Tensor:
        """Which fits were ended by ``tol``, shape ``(G,)``."""
        return self.n_iter.new_tensor(
            [status is Status.CONVERGED for status in self.statuses], dtype=torch.bool
        )

    @property
    def interrupted(self) -> bool:
        """Whether the keyboard ended the run."""
        return Status.INTERRUPTED in self.statuses

    @cached_property
    def collapsed(self) -> Tensor:
        """Which components are held up by ``reg_covar``, shape ``(G, K)``."""
        smallest = self.mixture.covariance.smallest_variance()
        return (smallest <= 2 * self.reg_covar).expand(self.mixture.weights.shape)

    def __len__(self) -> int:
        return len(self.statuses)

    def __getitem__(self, group: int) -> GaussianMixture:
        """The mixture of one group."""
        count = len(self)
        at = check_integer("group", group, minimum=-count)
        if at >= count:
            raise IndexError(f"group: expected one of {count}, got {at}")
        return self.mixture.reindex(lambda tensor: tensor[at])

    @property
    def report(self) -> str:
        """How many fits ended how, and which groups need to be looked at, in words."""
        lines = [f"{int(self.converged.sum()):,} of {len(self):,} groups converged"]
        for status in Status:
            at = [g for g, own in enumerate(self.statuses) if own is status]
            if at and status is not Status.CONVERGED:
                lines.append(f"{status.name}, {_named(at)}: the first, {self.reasons[at[0]]}")
        at = self.collapsed.any(-1).nonzero()[:, 0].tolist()
        if at:
            lines.append(
                f"components collapsed, {_named(at)}: most of their smallest variance is "
                f"reg_covar={self.reg_covar:g}. The rows are duplicates, collinear or too few for "
                "the covariance: take a simpler one or fewer components, or let groups learn from "
                "each other (HierarchicalGaussianMixture)"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        count = int(self.converged.sum())
        return f"{type(self).__name__}({len(self):,} groups, {count:,} converged)"


def _named(groups: list[int]) -> str:
    shown = ", ".join(map(str, groups[:_MOST_SAID]))
    more = f" and {len(groups) - _MOST_SAID:,} more" if len(groups) > _MOST_SAID else ""
    return f"group{'s' * (len(groups) > 1)} {shown}{more}"
