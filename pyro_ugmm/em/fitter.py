"""Expectation maximization for Gaussian mixtures."""

import math
import os
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..checks import check, check_flag, check_floating, check_integer, check_number
from ..distributions import GaussianMixture
from ..distributions.arguments import check_missing
from ..processes import as_one, check_group, current
from .checkpointing import EMCheckpoint
from .expectation import Expectation
from .maximization import maximize
from .priors import ConjugatePrior
from .result import EMResult
from .rows import Rows
from .run import Run
from .statistics import SufficientStatistics
from .untracked import untracked

__all__ = ["EMFitter"]

_MOST_RAISED = 1e-2

_NOT_SHARED = ("missing", "progress", "group")


@dataclass(frozen=True, kw_only=True)
class EMFitter:
    """Fits Gaussian mixtures by expectation maximization, in closed form.

    The settings are scikit-learn's and mean the same. Rows are read in blocks, so that memory
    beyond the data does not grow with their number. Where ``torch.distributed`` is initialized,
    each process gives its own rows and all get the fit to the rows of all; what goes wrong on one
    is raised on all.

    Args:
        tol: stop when the mean log-likelihood per row changes by less than this, in nats; with a
            prior, the mean log posterior.
        max_iter: the most M-steps to take.
        reg_covar: what is added to all variances, in squared units of the data.
        prior: for maximum a posteriori instead of maximum likelihood.
        missing: what NaN means: an ``"error"``, or an entry to ``"marginalize"``; by default, what
            it means to the start.
        progress: whether to show a progress bar on fits of more than a second.
        group: the processes that fit together: by default all, where ``torch.distributed`` is
            initialized; a process group; or ``False`` for this process alone. With NCCL, set the
            process's CUDA device first.

    Raises:
        ValueError: if a setting is out of range.

    Source: Dempster, Laird and Rubin (1977), *Maximum likelihood from incomplete data via the EM
    algorithm*; for missing entries, Ghahramani and Jordan (1994), *Supervised learning from
    incomplete data via an EM approach*.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import EMFitter, initialize
        >>> x = torch.cat([torch.randn(100, 2) - 9, torch.randn(200, 2) + 9])
        >>> result = EMFitter().fit(x, initialize(x, n_components=2, seed=0))
        >>> result.converged, result.mixture.weights.sort().values
        (True, tensor([0.3333, 0.6667]))
    """

    tol: float = 1e-3
    max_iter: int = 100
    reg_covar: float = 1e-6
    prior: ConjugatePrior | None = None
    missing: str | None = None
    progress: bool = True
    group: Any = None

    def __post_init__(self) -> None:
        expected = "a finite non-negative number"
        for name in ("tol", "reg_covar"):
            number = check_number(name, getattr(self, name), lambda v: 0 <= v < math.inf, expected)
            object.__setattr__(self, name, number)
        object.__setattr__(self, "max_iter", check_integer("max_iter", self.max_iter))
        if self.missing is not None:
            check_missing(self.missing)
        expected = "a ConjugatePrior, or None"
        is_prior = self.prior is None or isinstance(self.prior, ConjugatePrior)
        check(is_prior, "prior", expected, type(self.prior).__name__)
        check_flag("progress", self.progress)
        check_group(self.group)

    @untracked()
    @as_one
    def fit(
        self,
        x: Any,
        start: GaussianMixture,
        sample_weight: Any = None,
        *,
        checkpoint: str | os.PathLike | None = None,
        checkpoint_every: int = 10,
    ) -> EMResult:
        """Fits a mixture to rows.

        Args:
            x: rows ``(n, D)`` as a tensor, an array or a memory map, in the start's dtype; or an
                iterable of such blocks that can be read again, such as a DataLoader. Blocks are
                moved to the start's device. Pairs (block, weights) carry their rows' weights.
            start: where to start. A batch of shape ``(S,)`` is S restarts; the one that ends at
                the highest log-likelihood is returned, or with a prior, log posterior.
            sample_weight: non-negative weights of the rows, shape ``(n,)``; a weight of two is
                the row twice.
            checkpoint: a file that is written every ``checkpoint_every`` steps. If it is there,
                the fit goes on from it, to the same numbers; after a fit that ended, the same call
                returns its outcome. It is of one fit: of the same settings, start, rows and
                weights, all of which count; a stream must give the same rows at each reading, in
                any order. Of several processes, the first one writes it, and all must see it.
            checkpoint_every: in steps, of all restarts at work.

        Returns:
            The fitted mixture with a status, the history and findings about single components. A
            numerical failure is a status, not an exception. So is an interruption by the keyboard
            once the steps have begun: the result is the last mixture whose likelihood is known,
            or before the first step the start, with a likelihood of NaN.

        Raises:
            ValueError: if the rows are not finite, of another dtype or number of features than
                the start, there are none, or nothing was observed of a feature; if the start is
                not finite; if a weight is negative; if processes differ in the start or settings;
                or if the checkpoint is damaged or of another fit.
        """
        starts = _as_batch("start", start, self.missing)
        current().agree(_settings(self, starts) | {"checkpoint_every": checkpoint_every})
        observed = self.prior is None or not self.prior.informs
        rows = Rows(x, starts.means, sample_weight, starts.missing, observed=observed)
        prior = None if self.prior is None else self.prior.like(starts.means)
        unit = rows.normalize_weights()
        fitter = replace(self, prior=None if prior is None else prior.in_units_of(unit))
        run = Run(fitter, rows, starts)
        if checkpoint is None:
            return run.go()
        in_order = hasattr(x, "shape")
        file = EMCheckpoint(checkpoint, checkpoint_every, fitter, rows, starts, in_order)
        return run.go(file)

    @untracked()
    @as_one
    def e_step(
        self, x: Any, mixture: GaussianMixture, sample_weight: Any = None
    ) -> SufficientStatistics:
        """Returns the sufficient statistics of rows under a mixture, of batch shape ``()``.

        Rows are given as to :meth:`fit`. Statistics of disjoint sets of rows add.
        """
        batch = _as_batch("mixture", mixture, self.missing)
        shape = tuple(mixture.batch_shape)
        check(not shape, "mixture", "one without a batch", f"batch shape {shape}")
        rows = Rows(x, batch.means, sample_weight, batch.missing)
        statistics = Expectation(batch).read(rows).statistics()
        return statistics.map(lambda t: t.squeeze(0) if t.dim() else t)

    @untracked()
    def m_step(self, statistics: SufficientStatistics) -> GaussianMixture:
        """Returns the most probable mixture given sufficient statistics."""
        prior = None if self.prior is None else self.prior.like(statistics.pivots)
        missing = self.missing or statistics.missing
        mixture, _ = maximize(statistics, self.reg_covar, prior, missing)
        return mixture


def _settings(fitter: EMFitter, start: GaussianMixture) -> dict[str, Any]:
    """What processes have to agree on."""
    return {
        **{f"start's {name}": tensor for name, tensor in start.tensors().items()},
        "start's structure": start.covariance.name,
        "missing": start.missing,
        **{name: value for name, value in vars(fitter).items() if name not in _NOT_SHARED},
    }


def _as_batch(name: str, mixture: Any, missing: str | None) -> GaussianMixture:
    """Detaches a mixture, and gives it a batch shape of one dimension.

    A covariance that is singular but for rounding is raised, as after an M-step.
    """
    expected = "a GaussianMixture, such as initialize(x, n_components) makes"
    check(isinstance(mixture, GaussianMixture), name, expected, type(mixture).__name__)
    shape = tuple(mixture.batch_shape)
    check(len(shape) <= 1, name, "batch shape () or (S,), one for each restart", shape)
    check_floating(name, mixture.means)
    dtype = mixture.means.dtype
    check(dtype in (torch.float32, torch.float64), name, "float32 or float64", dtype)
    batch = mixture.expand(shape or (1,)).reindex(torch.Tensor.detach)
    covariance = batch.covariance
    finite = all(tensor.isfinite().all() for tensor in batch.tensors().values())
    check(finite, name, "finite parameters", "some that are not")
    raised, _ = covariance.regularized(0.0)
    expected = "positive definite covariances"
    is_sound = covariance.relative_change(raised) < _MOST_RAISED
    check(is_sound, name, expected, "some that are not, beyond rounding")
    missing = missing or mixture.missing
    return GaussianMixture(batch.weights, batch.means, raised, missing=missing, validate_args=False)
