"""The loop around the steps of EM, for several restarts at once."""

import math
from dataclasses import replace

import torch
from tqdm.auto import tqdm

from ..distributions import GaussianMixture
from ..status import Status
from .algorithm import EMAlgorithm
from .checkpointing import EMCheckpoint
from .endings import cut_off, endings_at_start, endings_of_step, limit_reached
from .progress import Progress
from .recovery import Recovery
from .result import EMResult, Finding
from .rows import Rows
from .state import EMState
from .stopping import StoppingRule

__all__ = ["Restarts"]

_MOST_COMPONENTS_AT_ONCE = 512


class Restarts:
    """Takes steps from each of several starts until it ends, and returns the best.

    A step that is not ended when the keyboard interrupts is left out of the result, which needs no
    reading more.

    Args:
        algorithm: the steps.
        stopping: says when one more step is the last.
        max_iter: the most steps.
        rows: the data.
        starts: mixtures of batch shape ``(S,)``.
        show_progress: whether to show a progress bar.
    """

    def __init__(
        self,
        algorithm: EMAlgorithm,
        stopping: StoppingRule,
        max_iter: int,
        rows: Rows,
        starts: GaussianMixture,
        show_progress: bool,
    ) -> None:
        self._algorithm, self._stopping, self._max_iter = algorithm, stopping, max_iter
        self._rows, self._starts, self._show_progress = rows, starts, show_progress
        self._n_restarts = n_restarts = starts.batch_shape.numel()
        at_once = max(1, _MOST_COMPONENTS_AT_ONCE // starts.n_components)
        self._at_once = 1 if starts.covariance.is_shared else at_once
        self._recovery = Recovery(rows, n_restarts, starts.n_components)
        self._progress = Progress(log_likelihoods=(math.nan,) * n_restarts)

    def run(self, checkpoint: EMCheckpoint | None = None) -> EMResult:
        """Takes all steps, those before a checkpoint excepted."""
        try:
            try:
                self._run(checkpoint)
            except KeyboardInterrupt:
                return self._result(interrupted=True)
            return self._result()
        except KeyboardInterrupt:  # nothing is read for a result: it is there at once
            return self._result(interrupted=True)

    def _run(self, checkpoint: EMCheckpoint | None) -> None:
        if checkpoint is not None:
            self._resume(checkpoint)
        while not self._progress.is_over:
            if not self._progress.at_work:
                self._progress = self._progress.with_begun(self._at_once)
            self._finish_group(checkpoint)
        if checkpoint is not None:
            self._save(checkpoint)

    def _finish_group(self, checkpoint: EMCheckpoint | None) -> None:
        """Takes the steps of the restarts at work."""
        first, state = self._progress.at_work[0].index, self._progress.state
        title = "EM" if self._n_restarts == 1 else f"EM, restart {first + 1} of {self._n_restarts}"
        n_before = 0 if state is None else state.n_steps
        options = {"disable": not self._show_progress, "delay": 1, "initial": n_before}
        with tqdm(total=self._max_iter, desc=title, **options) as bar:
            if state is None:
                self._start()
            while (state := self._progress.state) is not None:
                self._step(state)
                if not bar.disable:
                    highest = state.log_likelihood.max().item()
                    bar.set_postfix(log_likelihood=f"{highest:.6g}", refresh=False)
                bar.update()
                if checkpoint is not None and self._progress.n_steps % checkpoint.every == 0:
                    self._save(checkpoint)

    def _start(self) -> None:
        at = [trace.index for trace in self._progress.at_work]
        state = self._algorithm.e_step(self._starts.reindex(lambda t: t[at]), self._rows)
        endings = endings_at_start(self._starts, state, at, self._max_iter)
        self._progress = replace(self._progress, state=state).with_ended(endings)

    def _step(self, before: EMState) -> None:
        progress, n_steps = self._progress, before.n_steps + 1
        mixture, singular = self._algorithm.m_step(before)
        mixture, revived, broken = self._recovery.apply(
            [trace.index for trace in progress.at_work],
            before,
            mixture,
            singular,
            may_revive=n_steps < self._max_iter,
        )
        met = self._stopping.is_met(before)
        converged = [a and not b for a, b in zip(met, revived, strict=True)]
        is_last = n_steps == self._max_iter or all(converged)
        after = self._algorithm.e_step(mixture, self._rows, before, is_last=is_last)
        for trace, likelihood in zip(progress.at_work, before.log_likelihood.tolist(), strict=True):
            trace.history[before.n_steps :] = [likelihood]
        reasons = [self._reason(i, before, after, ends) for i, ends in enumerate(converged)]
        endings = endings_of_step(progress.at_work, before, after, broken, reasons)
        progress = replace(progress, state=after, n_steps=progress.n_steps + 1)
        self._progress = progress.with_ended(endings)

    def _reason(
        self, i: int, before: EMState, after: EMState, converged: bool
    ) -> tuple[Status, str] | None:
        """Says why a restart ends with a step, if it does."""
        objective = self._algorithm.objective
        if converged:
            return Status.CONVERGED, self._stopping.reason(before, i, objective)
        if after.n_steps == self._max_iter:
            return Status.LIMIT_REACHED, limit_reached(after, i, objective)
        return None

    # -- results ----------------------------------------------------------------------------

    def _result(self, *, interrupted: bool = False) -> EMResult:
        """Returns the best restart, without another look at the rows."""
        progress = self._progress
        if progress.best is None and not progress.at_work:
            progress = progress.with_begun(self._at_once)
        others = not progress.is_over
        left = cut_off(progress.at_work, progress.state, self._starts)
        progress = progress.with_ended(left)
        best = progress.best
        assert best is not None
        others = others and best.status is not Status.INTERRUPTED
        mixture = best.mixture
        return EMResult(
            mixture=GaussianMixture(
                mixture.weights, mixture.means, mixture.covariance, missing=mixture.missing
            ),
            status=Status.INTERRUPTED if interrupted else best.status,
            reason=best.reason + ("; other restarts were interrupted" if others else ""),
            n_iter=len(best.history),
            log_likelihood=best.log_likelihood,
            objective=best.objective,
            history=torch.tensor(best.history, dtype=torch.float64),
            events=(
                *self._recovery.events_until(best.index, len(best.history)),
                *_seen_once(self._rows),
            ),
            restarts=torch.tensor(progress.log_likelihoods, dtype=torch.float64),
            reg_covar=self._algorithm.reg_covar,
        )

    # -- checkpoints ------------------------------------------------------------------------

    def _resume(self, checkpoint: EMCheckpoint) -> None:
        state = checkpoint.load()
        if state is None:
            return self._save(checkpoint)
        self._recovery.load(state["recovery"])
        self._progress = Progress.from_tensors(state["progress"], self._starts)

    def _save(self, checkpoint: EMCheckpoint) -> None:
        state = {"progress": self._progress.tensors(), "recovery": self._recovery.state()}
        checkpoint.save(state)


def _seen_once(rows: Rows) -> list[Finding]:
    """What rows cannot tell of a column of which there is one value."""
    message = (
        "column {} was observed in one row only, from which no variance can be told; leave it out, "
        "or give a prior"
    )
    return [Finding(None, "underdetermined", message.format(column)) for column in rows.seen_once]
