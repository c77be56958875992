"""The iterations of EM, for several restarts at once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from tqdm.auto import tqdm

from ..accumulation import double
from ..distributions import GaussianMixture
from .expectation import Expectation
from .maximization import maximize
from .recovery import Recovery
from .result import EMResult, Finding
from .rows import Rows
from .stage import Outcome, Stage, Trace, select_restarts
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
        self._at_once = at_once if starts.covariance.per_component else 1
        self._recovery = Recovery(rows, n_restarts, starts.n_components)
        self._stage = Stage(0, (), None, None, 0, 0, None, (math.nan,) * n_restarts)
        self._interrupted = False

    def go(self, checkpoint: EMCheckpoint | None = None) -> EMResult:
        """Takes all steps, those before a checkpoint excepted."""
        try:
            if checkpoint is not None:
                self._resume(checkpoint)
            while self._stage.traces or self._stage.first_left < self._n_restarts:
                if not self._stage.traces:
                    self._begin()
                self._finish_group(checkpoint)
            if checkpoint is not None:
                self._save(checkpoint)
        except KeyboardInterrupt:
            self._interrupted = True
        try:
            return self._result()
        except KeyboardInterrupt:  # nothing is read for a result: it is there at once
            self._interrupted = True
            return self._result()

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
        left = self._note(values, objective.tolist())
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
        alive = [trace.index for trace in stage.traces]
        may_revive = n_steps + 1 < fitter.max_iter
        after, revived, failed = self._recovery.apply(
            alive, after, raised, mixture, statistics, n_steps, may_revive
        )
        traces = []
        for trace, moved in zip(stage.traces, revived, strict=True):
            trace.history[n_steps:] = [trace.likelihood]
            if abs(trace.change) < fitter.tol and not moved:
                trace = replace(trace, verdict=self._converged(trace))
            traces.append(trace)
        stage = replace(
            stage,
            traces=tuple(traces),
            mixture=after,
            n_steps=n_steps + 1,
            n_all_steps=stage.n_all_steps + 1,
        )
        self._stage = stage.ended(
            [_taken_back(i, traces[i], stage) for i, is_lost in enumerate(failed) if is_lost]
        )

    def _note(self, likelihoods: list[float], objectives: list[float]) -> list[int]:
        """Notes what the mixtures were found to be worth; returns which of them go on."""
        stage = self._stage
        traces, outcomes = [], []
        for i, trace in enumerate(stage.traces):
            values = likelihoods[i], objectives[i]
            is_sound = all(self._is_in_range(value) for value in values)
            if not is_sound and stage.n_steps == 0 and not math.isnan(sum(values)):
                # Rows that a start is far from belong to all of its components alike.
                values, is_sound = (self._clamped(values[0]), -math.inf), True
            if not is_sound:
                outcomes.append(_taken_back(i, trace, stage))
                traces.append(trace)
                continue
            likelihood, objective = values
            change = objective - trace.objective
            trace = replace(trace, likelihood=likelihood, objective=objective, change=change)
            if trace.verdict or stage.n_steps == self._fitter.max_iter:
                outcomes.append(self._ended(i, trace, stage))
            traces.append(trace)
        stage = replace(stage, traces=tuple(traces), evaluated=stage.mixture)
        self._stage = stage.ended(outcomes)
        gone = {outcome.index for outcome in outcomes}
        return [i for i, trace in enumerate(traces) if trace.index not in gone]

    # -- ends -------------------------------------------------------------------------------

    @property
    def _what(self) -> str:
        return "log-likelihood" if self._fitter.prior is None else "log posterior"

    @property
    def _bound(self) -> float:
        """What a mean log-likelihood within the numbers' range stays well below, in size.

        Whether a sum beyond it becomes infinite depends on the order in which a processor adds.
        """
        return torch.finfo(self._starts.means.dtype).max ** 0.75

    def _is_in_range(self, value: float) -> bool:
        return abs(value) < self._bound

    def _clamped(self, value: float) -> float:
        return min(max(value, -self._bound), self._bound)

    def _converged(self, trace: Trace) -> str:
        return (
            f"converged: the mean {self._what} changed by {trace.change:.3g}, less than "
            f"tol={self._fitter.tol:g}, in step {len(trace.history)}"
        )

    def _ended(self, i: int, trace: Trace, stage: Stage) -> Outcome:
        """Returns a restart that ends with its mixture, the ``i``-th of those at work."""
        assert stage.mixture is not None
        changed = f"the last of which changed the mean {self._what} by {trace.change:.3g}"
        if math.isinf(trace.change):
            changed = "from a start that was beyond the numbers' range"
        stopped = (
            f"stopped after max_iter={self._fitter.max_iter} steps, {changed}; raise max_iter, or "
            "go on from here"
        )
        return Outcome(
            index=trace.index,
            mixture=select_restarts(stage.mixture, [i]),
            history=trace.history[: stage.n_steps],
            likelihood=trace.likelihood,
            objective=trace.objective,
            converged=bool(trace.verdict),
            status=trace.verdict or stopped,
        )

    def _result(self) -> EMResult:
        """Returns the best restart, without another look at the rows."""
        stage = self._stage
        if stage.best is None and not stage.traces:
            self._begin()
            stage = self._stage
        cut_off = [_cut_off(i, trace, stage) for i, trace in enumerate(stage.traces)]
        is_cut = bool(cut_off) or stage.first_left < self._n_restarts
        stage = stage.ended(cut_off)
        best = stage.best
        assert best is not None
        status = best.status
        if is_cut and best.index not in {outcome.index for outcome in cut_off}:
            status += "; other restarts were interrupted"
        return EMResult(
            mixture=_single(best.mixture),
            converged=best.converged,
            status=status,
            n_iter=len(best.history),
            log_likelihood=best.likelihood,
            history=torch.tensor(best.history, dtype=torch.float64),
            events=(
                *self._recovery.events_until(best.index, len(best.history)),
                *_seen_once(self._rows),
            ),
            restarts=torch.tensor(stage.likelihoods, dtype=torch.float64),
            reg_covar=self._fitter.reg_covar,
            objective=best.objective,
            interrupted=self._interrupted,
        )

    # -- checkpoints ------------------------------------------------------------------------

    def _resume(self, checkpoint: EMCheckpoint) -> None:
        state = checkpoint.load()
        if state is None:
            self._save(checkpoint)
            return
        self._recovery.load(state["recovery"])
        self._stage = Stage.load(state["stage"], self._starts)

    def _save(self, checkpoint: EMCheckpoint) -> None:
        checkpoint.save({"stage": self._stage.state(), "recovery": self._recovery.state()})


def _single(mixture: GaussianMixture) -> GaussianMixture:
    """Returns the mixture of a batch of one, without the batch."""
    covariance = mixture.covariance.reindex(lambda t: t[0])
    return GaussianMixture(
        mixture.weights[0], mixture.means[0], covariance, missing=mixture.missing
    )


def _taken_back(i: int, trace: Trace, stage: Stage) -> Outcome:
    """Returns a restart whose last step led beyond the numbers' range."""
    n_steps = stage.n_steps
    last = stage.evaluated if n_steps else stage.mixture
    assert last is not None
    where = f"after step {n_steps}, which was taken back" if n_steps else "at the start"
    return Outcome(
        index=trace.index,
        mixture=select_restarts(last, [i]),
        history=trace.history[:n_steps],
        likelihood=trace.likelihood if n_steps else -math.inf,
        objective=trace.objective,
        converged=False,
        status=f"stopped: {where}, some rows were too far from all components for the range "
        f"of {last.means.dtype}; standardize the features, or start nearer",
    )


def _cut_off(i: int, trace: Trace, stage: Stage) -> Outcome:
    """Returns a restart that the keyboard interrupted."""
    n_steps = stage.n_known_steps
    last = stage.mixture if stage.evaluated is None else stage.evaluated
    assert last is not None
    begun = f"interrupted in step {n_steps + 1}"
    not_begun = "interrupted before the first step: this is the start"
    return Outcome(
        index=trace.index,
        mixture=select_restarts(last, [i]),
        history=trace.history[:n_steps],
        likelihood=trace.likelihood,
        objective=trace.objective,
        converged=False,
        status=not_begun if stage.evaluated is None else begun,
    )


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
