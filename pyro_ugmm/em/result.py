"""What a fit by EM returns."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..distributions import BackgroundMixture, GaussianMixture
from ..status import Ended, Status

__all__ = ["EMPTY_SHARE", "EMResult", "Finding", "findings_in_words"]

EMPTY_SHARE = 1e-8
"""A component is empty if its responsibilities sum to less than this share of all rows."""
_MOST_SHOWN = 10


@dataclass(frozen=True)
class Finding:
    """Something about one component that its user should know.

    Attributes:
        component: its index, or ``None`` if it is about all of them.
        kind: ``"revived"``, ``"empty"``, ``"collapsed"``, ``"singular"`` or ``"underdetermined"``.
        message: what happened, why, and what to do.
        iteration: in which step it happened, counted from one, or ``None`` for the state at the
            end.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import EMFitter, initialize
        >>> x = torch.cat([torch.zeros(20, 1), torch.randn(80, 1) + 5])  # twenty duplicates
        >>> result = EMFitter().fit(x, initialize(x, 2, seed=0))
        >>> [(finding.kind, finding.iteration) for finding in result.findings]
        [('collapsed', None)]
    """

    component: int | None
    kind: str
    message: str
    iteration: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class EMResult(Ended):
    """The outcome of a fit by EM.

    Attributes:
        mixture: the fitted mixture, detached: ready for ``pyro.sample``.
        status: how the fit ended.
        reason: why, in words with figures, and what to do about it.
        n_iter: the number of M-steps taken.
        log_likelihood: the mean log-likelihood per row of the returned mixture, in nats.
        history: the mean log-likelihood before each M-step, shape ``(n_iter,)``, float64.
        events: what befell single components during the fit.
        restarts: the log-likelihood each restart ended at, shape ``(S,)``; the best is returned.
            NaN for those that an interruption left out.
        reg_covar: what was added to the variances.
        objective: what the fit maximized: ``log_likelihood``, with a prior plus the log prior
            density per row, but for a constant.
        engine: who took the steps: ``"native"``, the library in C, but for those out of the
            ordinary, as where a component lost its rows; or ``"torch"``.
        background: the mixture beside its background, if it was given one.
        outliers: which rows are more probably of the background than of a component, int64; None
            without one, or after an interruption.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import EMFitter, initialize
        >>> x = torch.cat([torch.randn(80, 1) - 5, torch.randn(80, 1) + 5])
        >>> result = EMFitter().fit(x, initialize(x, 2, seed=0))
        >>> print(result.report)
        converged: ...
        all components are sound
    """

    mixture: GaussianMixture
    status: Status
    reason: str
    n_iter: int
    log_likelihood: float
    history: Tensor
    events: tuple[Finding, ...]
    restarts: Tensor
    reg_covar: float
    objective: float
    engine: str
    background: BackgroundMixture | None = None
    outliers: Tensor | None = None

    @property
    def distribution(self) -> GaussianMixture | BackgroundMixture:
        """Returns the mixture, beside its background if it has one."""
        return self.mixture if self.background is None else self.background

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The events of the fit, and which components ended empty or collapsed."""
        return (*self.events, *_empty(self.mixture), *_collapsed(self.mixture, self.reg_covar))

    @property
    def report(self) -> str:
        """The reason and the findings about single components, in words."""
        lines = findings_in_words(self.findings) or ["all components are sound"]
        return "\n".join([self.reason, *lines, *self._said_of_background()])

    def _said_of_background(self) -> list[str]:
        if self.background is None:
            return []
        said = f"the background has {100 * self.background.weight:.3g} % of the weight"
        if self.outliers is None:
            return [said]
        shown = ", ".join(map(str, self.outliers[:_MOST_SHOWN].tolist()))
        more = f" and {len(self.outliers) - _MOST_SHOWN:,} more"
        rows = f": {shown}{more if len(self.outliers) > _MOST_SHOWN else ''}" if shown else ""
        return [f"{said}; {len(self.outliers):,} rows are more probably of it{rows}"]

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.status.name}, n_iter={self.n_iter}, "
            f"log_likelihood={self.log_likelihood:.6g}, reason={self.reason!r})"
        )


def findings_in_words(findings: Iterable[Finding]) -> list[str]:
    """A line for each thing that was found, with the components that it is about."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.kind, finding.message), []).append(finding)
    return [
        f"{_names([finding.component for finding in group])} {kind}: {message}"
        for (kind, message), group in groups.items()
    ]


def _names(components: list[int | None]) -> str:
    if None in components:
        return "all components"
    if len(components) == 1:
        return f"component {components[0]}"
    shown = ", ".join(map(str, components[:10]))
    return f"components {shown}" + (
        f" and {len(components) - 10} more" if len(components) > 10 else ""
    )


def _empty(mixture: GaussianMixture) -> list[Finding]:
    message = (
        f"its responsibilities sum to less than {EMPTY_SHARE:g} of the rows, and reviving it did "
        "not help; fit fewer components"
    )
    empty = (mixture.weights < EMPTY_SHARE).nonzero()[:, 0].tolist()
    return [Finding(k, "empty", message) for k in empty]


def _collapsed(mixture: GaussianMixture, reg_covar: float) -> list[Finding]:
    covariance = mixture.covariance
    smallest = covariance.smallest_variance()
    matrices = covariance.dense(mixture.n_components, mixture.n_features)
    largest = matrices.diagonal(dim1=-2, dim2=-1).amax(-1)
    rounding = torch.finfo(smallest.dtype).eps
    held_up = smallest <= 2 * reg_covar
    narrow = ~held_up & (smallest <= 100 * rounding * largest)
    spread = matrices.diagonal(dim1=-2, dim2=-1).sqrt()
    resolution = rounding * mixture.means.abs() + rounding**1.5 * mixture.variance.sqrt()
    point = ~held_up & ~narrow & (spread <= resolution).any(-1)
    remedy = (
        "The rows are duplicates, collinear or too few for the covariance, or the features' scales "
        "differ much: standardize them, fit fewer components or a simpler covariance, or give a "
        "prior"
    )
    causes = (
        (held_up, f"most of the smallest variance is reg_covar={reg_covar:g}, which holds it up"),
        (narrow, "the smallest variance is hardly above the rounding error of the largest"),
        (point, "in some feature, it is no wider than the rounding error of the data"),
    )
    return [
        Finding(k, "collapsed", f"{cause}. {remedy}")
        for flags, cause in causes
        for k in covariance.concerned(flags)
    ]
