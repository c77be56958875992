"""Expectation maximization for Gaussian mixtures."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from tqdm.auto import tqdm

from ..checks import check, check_flag, check_integer, check_number
from ..distributions import GaussianMixture
from ..distributions.multivariate import check_missing
from ..processes import as_one, check_group, current
from .expectation import Expectation
from .maximization import maximize
from .priors import ConjugatePrior
from .result import EMResult, Finding
from .rows import Rows
from .run import run, select_restarts
from .statistics import SufficientStatistics
from .untracked import untracked

__all__ = ["EMFitter"]

_MOST_COMPONENTS_AT_ONCE = 512


@dataclass(frozen=True)
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
        >>> x = torch.cat([torch.randn(100, 2) - 3, torch.randn(200, 2) + 3])
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
            check_number(name, getattr(self, name), lambda v: 0 <= v < math.inf, expected)
        check_integer("max_iter", self.max_iter)
        if self.missing is not None:
            check_missing(self.missing)
        expected = "a ConjugatePrior, or None"
        is_prior = self.prior is None or isinstance(self.prior, ConjugatePrior)
        check(is_prior, "prior", expected, type(self.prior).__name__)
        check_flag("progress", self.progress)
        check_group(self.group)

    @untracked()
    @as_one
    def fit(self, x: Any, start: GaussianMixture, sample_weight: Any = None) -> EMResult:
        """Fits a mixture to rows.

        Args:
            x: rows ``(n, D)`` as a tensor, an array or a memory map, in the start's dtype; or an
                iterable of such blocks that can be read again, such as a DataLoader. Blocks are
                moved to the start's device. Pairs (block, weights) carry their rows' weights.
            start: where to start. A batch of shape ``(S,)`` is S restarts; the one that ends at
                the highest log-likelihood is returned, or with a prior, log posterior.
            sample_weight: non-negative weights of the rows, shape ``(n,)``; a weight of two is
                the row twice.

        Returns:
            The fitted mixture with a status, the history and findings about single components. A
            numerical failure is a status, not an exception; so is an interruption by the keyboard.

        Raises:
            ValueError: if the rows are not finite, of another dtype or number of features than
                the start, there are none, or nothing was observed of a feature; if a weight is
                negative; or if processes differ in the start or settings.
        """
        check(isinstance(start, GaussianMixture), "start", "a GaussianMixture", type(start))
        shape = tuple(start.batch_shape)
        check(len(shape) <= 1, "start", "batch shape () or (S,), one for each restart", shape)
        missing = self.missing or start.missing
        current().agree(_settings(self, start) | {"missing": missing})
        observed = self.prior is None or not self.prior.informs
        rows = Rows(x, start.means, sample_weight, missing, observed=observed)
        starts = _as_batch(start, missing)
        prior = None if self.prior is None else self.prior.like(start.means)
        unit = rows.normalize_weights()
        fitter = replace(self, prior=None if prior is None else prior.in_units_of(unit))
        n_restarts = starts.batch_shape.numel()
        at_once = max(1, _MOST_COMPONENTS_AT_ONCE // start.n_components)
        if not start.covariance.per_component:
            at_once = 1
        results: list[EMResult] = []
        interrupted = False
        for first in range(0, n_restarts, at_once):
            group = select_restarts(starts, slice(first, first + at_once))
            title = "EM" if n_restarts == 1 else f"EM, restart {first + 1} of {n_restarts}"
            try:
                options = {"disable": not self.progress, "delay": 1}
                with tqdm(total=self.max_iter, desc=title, **options) as bar:
                    results += run(fitter, rows, group, bar)
                interrupted = any(result.interrupted for result in results)
            except KeyboardInterrupt:  # not within a step
                if not results:
                    raise
                interrupted = True
            if interrupted:
                break
        objectives = torch.tensor([result.objective for result in results], dtype=torch.float64)
        best = int(objectives.nan_to_num(nan=-math.inf).argmax())
        likelihoods = torch.full((n_restarts,), math.nan, dtype=torch.float64)
        for i, result in enumerate(results):
            likelihoods[i] = result.log_likelihood
        chosen, status = results[best], results[best].status
        if interrupted and not chosen.interrupted:
            status += "; other restarts were interrupted"
        chosen = replace(chosen, events=(*chosen.events, *_seen_once(rows)))
        return replace(chosen, status=status, restarts=likelihoods, interrupted=interrupted)

    @untracked()
    @as_one
    def e_step(
        self, x: Any, mixture: GaussianMixture, sample_weight: Any = None
    ) -> SufficientStatistics:
        """Returns the sufficient statistics of rows under a mixture, of batch shape ``()``.

        Rows are given as to :meth:`fit`. Statistics of disjoint sets of rows add.
        """
        check(isinstance(mixture, GaussianMixture), "mixture", "a GaussianMixture", type(mixture))
        shape = tuple(mixture.batch_shape)
        check(not shape, "mixture", "one without a batch", f"batch shape {shape}")
        missing = self.missing or mixture.missing
        rows = Rows(x, mixture.means, sample_weight, missing)
        expectation = Expectation(_as_batch(mixture, missing))
        statistics = expectation.read(rows).statistics()
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
    covariance = start.covariance
    return {
        "start's weights": start.weights,
        "start's means": start.means,
        "start's structure": covariance.name,
        "start's covariance": covariance.values,
        **{name: v for name, v in vars(fitter).items() if name not in ("progress", "group")},
    }


def _seen_once(rows: Rows) -> list[Finding]:
    """What rows cannot tell of a column of which there is one value."""
    message = (
        "column {} was observed in one row only, from which no variance can be told; leave it out, "
        "or give a prior"
    )
    return [Finding(None, "collapsed", message.format(column)) for column in rows.seen_once]


def _as_batch(start: GaussianMixture, missing: str) -> GaussianMixture:
    """Detaches a mixture and gives it a batch shape of one dimension."""
    n_restarts = start.batch_shape.numel()
    covariance = start.covariance.reindex(torch.Tensor.detach)
    n_batch = len(covariance.batch_shape)
    return GaussianMixture(
        start.weights.detach().reshape(n_restarts, -1),
        start.means.detach().reshape(n_restarts, *start.means.shape[-2:]),
        covariance.reindex(lambda t: t.expand(n_restarts, *t.shape[n_batch:])),
        missing=missing,
        validate_args=False,
    )
