"""What a fit of a mixture over products of nodes returns."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...distributions import UGMMMixture
from ...status import Ended, Status
from ..result import EMPTY_SHARE, Finding, findings_in_words

__all__ = ["UGMMResult"]


@dataclass(frozen=True, eq=False, repr=False)
class UGMMResult(Ended):
    """The outcome of a fit by :class:`UGMMFitter`.

    Attributes:
        mixture: the fitted mixture, detached: ready for ``pyro.sample``.
        status: how the fit ended.
        reason: why, in words with figures, and what to do about it.
        n_iter: the number of M-steps taken.
        log_likelihood: the mean log-likelihood per row of the returned mixture, in nats.
        history: the mean log-likelihood before each M-step, shape ``(n_iter,)``, float64.
        restarts: the log-likelihood each restart ended at, shape ``(S,)``; the best is returned.
            NaN for those that an interruption left out.
        reg_covar: what was added to the variances.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import UGMMFitter, initialize_ugmm
        >>> x = torch.cat([torch.randn(80, 2) - 5, torch.randn(80, 2) + 5])
        >>> result = UGMMFitter().fit(x, initialize_ugmm(x, 2, 1, seed=0))
        >>> print(result.report)
        converged: ...
        all components are sound
    """

    mixture: UGMMMixture
    status: Status
    reason: str
    n_iter: int
    log_likelihood: float
    history: Tensor
    restarts: Tensor
    reg_covar: float

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Which components ended empty, or have nodes with a Gaussian that collapsed."""
        return (*_empty(self.mixture), *_collapsed(self.mixture, self.reg_covar))

    @property
    def report(self) -> str:
        """The reason and the findings about single components, in words."""
        lines = findings_in_words(self.findings) or ["all components are sound"]
        return "\n".join([self.reason, *lines])

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.status.name}, n_iter={self.n_iter}, "
            f"log_likelihood={self.log_likelihood:.6g}, reason={self.reason!r})"
        )


def _empty(mixture: UGMMMixture) -> list[Finding]:
    message = (
        f"its responsibilities sum to less than {EMPTY_SHARE:g} of the rows; fit fewer components"
    )
    empty = (mixture.weights < EMPTY_SHARE).nonzero()[:, 0].tolist()
    return [Finding(k, "empty", message) for k in empty]


def _collapsed(mixture: UGMMMixture, reg_covar: float) -> list[Finding]:
    nodes = mixture.nodes
    rounding = torch.finfo(nodes.scale.dtype).eps
    held_up = nodes.scale.square() <= 2 * reg_covar
    resolution = rounding * nodes.loc.abs() + rounding**1.5 * mixture.variance.sqrt().unsqueeze(-1)
    point = nodes.scale <= resolution
    is_used = nodes.probs > 0
    causes = (
        (held_up, f"most of the variance of a Gaussian is reg_covar={reg_covar:g}"),
        (point & ~held_up, "a Gaussian is no wider than the rounding error of the data"),
    )
    remedy = (
        "Such a spike is at values that are tied or rounded, or too few: add noise as wide as "
        "their rounding, leave the column out, or fit fewer Gaussians or components"
    )
    findings = []
    for flags, cause in causes:
        for k, count in enumerate((flags & is_used).any(-1).sum(-1).tolist()):
            message = f"in {count} of {mixture.n_features} dimensions, {cause}. {remedy}"
            findings += [Finding(k, "collapsed", message)] if count else []
    return findings
