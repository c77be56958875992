"""The iterations of EM, for several restarts at once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from tqdm.auto import tqdm

from ..accumulation import double
from ..distributions import GaussianMixture
from .endings import converged, cut_off, noted, taken_back
from .expectation import Expectation
from .maximization import maximize
from .recovery import Recovery
from .result import EMResult, Finding
from .rows import Rows
from .stage import Stage, Trace, select_restarts
from .statistics import SufficientStatistics

if TYPE_CHECKING:
    from .checkpointing import EMCheckpoint
    from .fitter import EMFitter

__all__ = ["Run"]

_MOST_COMPONENTS_AT_ONCE = 512


class Run:
    """Fits mixtures to rows, each until it converges, and returns the best.

    A mixture's likelihood becomes known when the next step reads the rows; the last ones of all
    restarts at work are evaluated in one reading. The M-step that is not ended, or not evaluated,
    when the keyboard interrupts is left out of the result, which needs no reading more.

    Args:
        fitter: the settings, with the prior in the units of the rows' weights.
        rows: the data.
        starts: mixtures of batch shape ``(S,)``.
    """

    def __init__(self, fitter: EMFitter, rows: Rows, starts: GaussianMixture) -> None:
        self._fitter, self._rows, self._starts = fitter, rows, starts
        self._n_restarts = n_restarts = starts.batch_shape.numel()
        at_once = max(1, _MOST_COMPONENTS_AT_ONCE // starts.n_components)
        self._at_once = at_once if starts.covariance.n_components else 1
        self._recovery = Recovery(rows, n_restarts, starts.n_components)
        self._stage = Stage(0, (), None, None, 0, 0, None, (math.nan,) * n_restarts)
        self._interrupted = False

    def go(self, checkpoint: EMCheckpoint | None = None) -> EMResult:
        """Takes all steps, those before a checkpoint excepted."""
        try:
            try:
                self._run(checkpoint)
            except KeyboardInterrupt:
                self._interrupted = True
            return self._result()
        except KeyboardInterrupt:  # nothing is read for a result: it is there at once
            self._interrupted = True
            return self._result()

    def _run(self, checkpoint: EMCheckpoint | None) -> None:
        if checkpoint is not None:
            self._resume(checkpoint)
        while self._stage.traces or self._stage.first_left < self._n_restarts:
            if not self._stage.traces:
                self._begin()
            self._finish_group(checkpoint)
        if checkpoint is not None:
            self._save(checkpoint)

    # -- steps ------------------------------------------------------------------------------

    def _begin(self) -> None:
        first = self._stage.first_left
        last = min(first + self._at_once, self._n_restarts)
        self._stage = replace(
            self._stage,
            first_left=last,
            traces=tuple(Trace(i, []) for i in range(first, last)),
            mixture=select_restarts(self._starts, slice(first, last)),
            evaluated=None,
            n_steps=0,
        )

    def _finish_group(self, checkpoint: EMCheckpoint | None) -> None:
        fitter, first = self._fitter, self._stage.traces[0].index
        title = "EM" if self._n_restarts == 1 else f"EM, restart {first + 1} of {self._n_restarts}"
        options = {"disable": not fitter.progress, "delay": 1, "initial": self._stage.n_steps}
        with tqdm(total=fitter.max_iter, desc=title, **options) as bar:
            while self._stage.traces:
                before = self._stage.n_all_steps
                highest = self._step()
                bar.set_postfix(log_likelihood=f"{highest:.6g}", refresh=False)
                if self._stage.n_all_steps == before:  # the last mixtures were evaluated
                    continue
                bar.update()
                if checkpoint is not None and self._stage.n_all_steps % checkpoint.every == 0:
                    self._save(checkpoint)

    def _step(self) -> float:
        """Takes an E-step, and an M-step of the restarts that go on; returns the highest mean
        log-likelihood.
        """
        stage, fitter = self._stage, self._fitter
        mixture = stage.mixture
        assert mixture is not None
        is_last = stage.n_steps == fitter.max_iter or all(trace.verdict for trace in stage.traces)
        expectation = Expectation(mixture, only_likelihood=is_last).read(self._rows)
        if is_last:
            likelihood, weight = expectation.mean_log_likelihood()
        else:
            statistics = expectation.statistics()
            likelihood, weight = statistics.mean_log_likelihood, statistics.weight
        objective = likelihood
        if fitter.prior is not None:
            objective = likelihood + double(fitter.prior.log_density(mixture)) / weight
        values = likelihood.tolist()
        self._stage, left = noted(stage, values, objective.tolist(), fitter)
        if left:
            if len(left) < len(values):
                statistics = _selected(statistics, left)
            self._maximize(statistics)
        return max(values)

    def _maximize(self, statistics: SufficientStatistics) -> None:
        stage, fitter = self._stage, self._fitter
        mixture, n_steps = stage.mixture, stage.n_steps
        assert mixture is not None
        after, raised = maximize(statistics, fitter.reg_covar, fitter.prior, mixture.missing)
        alive, may_revive = [t.index for t in stage.traces], n_steps + 1 < fitter.max_iter
        after, revived, failed = self._recovery.apply(
            alive, after, raised, mixture, statistics, n_steps, may_revive
        )
        traces = []
        for trace, moved in zip(stage.traces, revived, strict=True):
            trace.history[n_steps:] = [trace.likelihood]
            if abs(trace.change) < fitter.tol and not moved:
                trace = replace(trace, verdict=converged(trace, fitter))
            traces.append(trace)
        stage = replace(
            stage,
            traces=tuple(traces),
            mixture=after,
            n_steps=n_steps + 1,
            n_all_steps=stage.n_all_steps + 1,
        )
        self._stage = stage.ended(
            [taken_back(i, traces[i], stage) for i, is_lost in enumerate(failed) if is_lost]
        )

    def _result(self) -> EMResult:
        """Returns the best restart, without another look at the rows."""
        stage = self._stage
        if stage.best is None and not stage.traces:
            self._begin()
            stage = self._stage
        left = [cut_off(i, trace, stage) for i, trace in enumerate(stage.traces)]
        is_cut = bool(left) or stage.first_left < self._n_restarts
        stage = stage.ended(left)
        best = stage.best
        assert best is not None
        status = best.status
        if is_cut and best.index not in {outcome.index for outcome in left}:
            status += "; other restarts were interrupted"
        return EMResult(
            mixture=_single(best.mixture),
            history=torch.tensor(best.history, dtype=torch.float64),
            events=(
                *self._recovery.events_until(best.index, len(best.history)),
                *_seen_once(self._rows),
            ),
            restarts=torch.tensor(stage.likelihoods, dtype=torch.float64),
            status=status,
            interrupted=self._interrupted,
            reg_covar=self._fitter.reg_covar,
            **best.numbers(),
        )

    # -- checkpoints ------------------------------------------------------------------------

    def _resume(self, checkpoint: EMCheckpoint) -> None:
        state = checkpoint.load()
        if state is None:
            return self._save(checkpoint)
        self._recovery.load(state["recovery"])
        self._stage = Stage.load(state["stage"], self._starts)

    def _save(self, checkpoint: EMCheckpoint) -> None:
        checkpoint.save({"stage": self._stage.state(), "recovery": self._recovery.state()})


def _single(mixture: GaussianMixture) -> GaussianMixture:
    """Returns the mixture of a batch of one, without the batch."""
    return mixture.reindex(lambda t: t[0])


def _selected(statistics: SufficientStatistics, at: list[int]) -> SufficientStatistics:
    """Returns the statistics of some of the restarts."""
    return statistics.map(lambda t: t[at] if t.dim() else t)


def _seen_once(rows: Rows) -> list[Finding]:
    """What rows cannot tell of a column of which there is one value."""
    message = (
        "column {} was observed in one row only, from which no variance can be told; leave it out, "
        "or give a prior"
    )
    return [Finding(None, "collapsed", message.format(column)) for column in rows.seen_once]
