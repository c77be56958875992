"""Expectation maximization for Gaussian mixtures."""

import os
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..checks import check, check_flag, check_integer
from ..distributions import GaussianMixture
from ..missing_values import mixture_rule
from ..processes import as_one, check_group, current
from .algorithm import EMAlgorithm
from .conjugate_prior import ConjugatePrior
from .engines import check_engine, steps_by
from .expectation import Expectation
from .given_rows import known_rows
from .maximization import maximize
from .quick_fit import quick_fit
from .recovery import Recovery
from .restarts import Restarts
from .result import EMResult
from .starts import checked_start
from .statistics import SufficientStatistics
from .stopping import StoppingRule, Tolerance
from .torch_steps import TorchSteps
from .untracked import untracked

__all__ = ["EMFitter"]

_NOT_SHARED = ("missing", "progress", "group")


@dataclass(frozen=True, kw_only=True)
class EMFitter:
    """Fits Gaussian mixtures by expectation maximization, in closed form.

    The settings are scikit-learn's and mean the same. Rows are read in blocks: what grows with
    their number beside the data are bounds, 256 MiB at most, by which components are left out.
    Where ``torch.distributed`` is initialized, each process gives its own rows and all get the fit
    to the rows of all; what goes wrong on one is raised on all.

    Args:
        tol: stop when the mean log-likelihood per row changes by less than this, in nats; with a
            prior, the mean log posterior.
        max_iter: the most M-steps to take; with none, the best start comes back.
        reg_covar: what is added to all variances, in squared units of the data.
        prior: for maximum a posteriori instead of maximum likelihood.
        missing: what NaN means: an ``"error"``, or an entry to ``"marginalize"``; by default, what
            it means to the start.
        progress: whether to show a progress bar on fits of more than a second.
        stopping: when to stop, instead of ``tol``.
        group: the processes that fit together: by default all, where ``torch.distributed`` is
            initialized; a process group; or ``False`` for this process alone. With NCCL, set the
            process's CUDA device first.
        engine: who takes the steps: ``"native"``, the library in C, or ``"torch"``; by default,
            ``"auto"``, the library where it can and is the faster one. The result says which.
        frozen: what stays as the start has it, by ``"weights"``, ``"means"`` and ``"covariance"``:
            True, or the numbers of some components. The covariance of a component whose mean stays
            is taken about that, and weights that do not stay share what the others leave.

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
    stopping: StoppingRule | None = None
    group: Any = None
    engine: str = "auto"
    frozen: Any = None

    def __post_init__(self) -> None:
        algorithm = EMAlgorithm(reg_covar=self.reg_covar, prior=self.prior, frozen=self.frozen)
        object.__setattr__(self, "frozen", algorithm.frozen)
        object.__setattr__(self, "reg_covar", algorithm.reg_covar)
        object.__setattr__(self, "tol", Tolerance(self.tol).tol)
        object.__setattr__(self, "max_iter", check_integer("max_iter", self.max_iter, minimum=0))
        if self.missing is not None:
            mixture_rule(self.missing)
        check_flag("progress", self.progress)
        is_rule = self.stopping is None or isinstance(self.stopping, StoppingRule)
        check(is_rule, "stopping", "a StoppingRule, or None", type(self.stopping).__name__)
        check_group(self.group)
        check_engine(self.engine)

    @untracked
    @as_one
    def fit(
        self,
        x: Any,
        start: GaussianMixture,
        sample_weight: Any = None,
        *,
        labels: Any = None,
        noise: Any = None,
        background: Any = None,
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
            labels: the component of each row where it is known, integers, ``(n,)``, and -1
                elsewhere. Such a row is its alone, and counts with their joint density. Or how
                plausible components are for each row, ``(n, K)``, from zero to one, which is what
                their joint densities are multiplied by: ones where nothing is known (Côme,
                Oukhellou, Denœux and Aknin 2009).
            noise: the error with which each row was measured: variances ``(n, D)``, or covariances
                ``(n, D, D)``. The mixture is then that of the rows without their errors (Bovy, Hogg
                and Roweis 2011), and the likelihood that of the rows with them.
            background: what rows may be of beside the components, such as outliers: ``"box"`` or
                ``"hull"``, the uniform distribution over the box around the rows or their convex
                hull; or another distribution of event shape ``(D,)``. Its weight is learned, and
                the report names the rows that are more probably of it.
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
                not finite; if a weight is negative; if labels, noise, a background or what is
                frozen do not fit; if processes differ in the start or settings; if the engine asked
                for cannot take the steps; or if the checkpoint is damaged or of another fit.
        """
        known = {"labels": labels, "noise": noise, "background": background}
        given = x, start, {"sample_weight": sample_weight, **known}
        if checkpoint is not None:
            restarts = self._restarts(*given, checkpoint_every)
            in_order = hasattr(x, "shape")
            return restarts.run(restarts.checkpoint(checkpoint, checkpoint_every, in_order))
        try:
            is_plain = not self.frozen and all(one is None for one in known.values())
            result = quick_fit(x, start, sample_weight, is_plain=is_plain, **self._quick_settings)
        except KeyboardInterrupt:
            return self._restarts(*given).result(interrupted=True)
        return result or self._restarts(*given).run()

    @property
    def _quick_settings(self) -> dict[str, Any]:
        names = "engine", "max_iter", "reg_covar", "prior", "missing"
        return {"stopping": self._rule, **{name: getattr(self, name) for name in names}}

    @property
    def _rule(self) -> StoppingRule:
        return self.stopping or Tolerance(self.tol)

    def _restarts(
        self, x: Any, start: GaussianMixture, given: dict[str, Any], checkpoint_every: int = 10
    ) -> Restarts:
        """Checks what was given, and prepares the loop."""
        start = checked_start("start", start, self.missing)
        starts = start if start.batch_shape else start.reindex(lambda t: t.unsqueeze(0))
        current().agree(_settings(self, starts) | {"checkpoint_every": checkpoint_every})
        observed = self.prior is None or not self.prior.informs
        rows = known_rows(x, starts, **given, observed=observed)
        self.frozen.check_fits(starts)
        if rows.known.background is not None:
            starts = rows.known.background.begin(starts)
        prior = None if self.prior is None else self.prior.like(starts.means)
        unit = rows.normalize_weights()
        prior = None if prior is None else prior.in_units_of(unit)
        algorithm = EMAlgorithm(reg_covar=self.reg_covar, prior=prior, frozen=self.frozen)
        recovery = Recovery(rows, starts.batch_shape.numel(), starts.n_components, self.frozen)
        steps = TorchSteps(algorithm, self._rule, self.max_iter, rows, recovery)
        return Restarts(steps_by(self.engine, steps, starts), steps, starts, self.progress)

    @untracked
    @as_one
    def e_step(
        self,
        x: Any,
        mixture: GaussianMixture,
        sample_weight: Any = None,
        *,
        labels: Any = None,
        noise: Any = None,
    ) -> SufficientStatistics:
        """Returns the sufficient statistics of rows under a mixture, of batch shape ``()``.

        Rows are given as to :meth:`fit`. Statistics of disjoint sets of rows add.
        """
        mixture = checked_start("mixture", mixture, self.missing)
        shape = tuple(mixture.batch_shape)
        check(not shape, "mixture", "one without a batch", f"batch shape {shape}")
        rows = known_rows(x, mixture, sample_weight, labels, noise)
        return Expectation(mixture).read(rows).statistics()

    @untracked
    def m_step(self, statistics: SufficientStatistics) -> GaussianMixture:
        """Returns the most probable mixture given sufficient statistics; its weights all move."""
        keeps_weights = self.frozen.mask("weights", statistics.mass).any()
        expected = "no weights among them, or EMAlgorithm's steps"
        check(not keeps_weights, "frozen", expected, f"{self.frozen}")
        prior = None if self.prior is None else self.prior.like(statistics.pivots)
        missing = self.missing or statistics.missing
        mixture, _ = maximize(
            replace(statistics, missing=missing), self.reg_covar, prior, self.frozen
        )
        return mixture


def _settings(fitter: EMFitter, start: GaussianMixture) -> dict[str, Any]:
    """What processes have to agree on."""
    covariance = start.covariance
    return {
        "start's weights": start.log_weights,
        "start's means": start.means,
        "start's structure": covariance.name,
        "start's covariance": torch.cat([t.flatten() for t in covariance.tensors().values()]),
        "missing": start.missing,
        **{name: value for name, value in vars(fitter).items() if name not in _NOT_SHARED},
    }
