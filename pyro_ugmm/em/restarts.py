"""The loop around the steps of EM, for several restarts at once."""

import math
import os
from dataclasses import replace

import torch

from ..distributions import GaussianMixture
from ..progress_bars import progress_bar
from ..status import Status
from .checkpointing import EMCheckpoint, fit_identity
from .endings import cut_off, endings_at_start
from .native_steps import NativeSteps
from .outliers import outliers
from .progress import Progress
from .result import EMResult, Finding
from .rows import Rows
from .state import EMState
from .torch_steps import TorchSteps

__all__ = ["Restarts"]

_MOST_COMPONENTS_AT_ONCE = 512


class Restarts:
    """Takes steps from each of several starts until it ends, and returns the best.

    A step that is not ended when the keyboard interrupts is left out of the result, which needs no
    reading more.

    Args:
        steps: who takes the steps.
        torch_steps: the same steps, and what they are made of.
        starts: mixtures of batch shape ``(S,)``.
        show_progress: whether to show a progress bar.
    """

    def __init__(
        self,
        steps: TorchSteps | NativeSteps,
        torch_steps: TorchSteps,
        starts: GaussianMixture,
        show_progress: bool,
    ) -> None:
        self._steps, self._torch_steps = steps, torch_steps
        self._recovery, self._max_iter = torch_steps.recovery, torch_steps.max_iter
        self._starts, self._show_progress = starts, show_progress
        self._n_restarts = n_restarts = starts.batch_shape.numel()
        at_once = max(1, _MOST_COMPONENTS_AT_ONCE // starts.n_components)
        self._at_once = 1 if starts.covariance.is_shared else at_once
        self._progress = Progress(log_likelihoods=(math.nan,) * n_restarts)

    def checkpoint(self, path: str | os.PathLike, every: int, in_order: bool) -> EMCheckpoint:
        """Returns the checkpoint of this fit in a file; ``in_order`` says whether each reading of
        the rows gives them in the same order.
        """
        of = self._torch_steps
        identity = fit_identity(of.algorithm, of.stopping, of.max_iter, self._starts)
        return EMCheckpoint(path, every, identity, of.rows, in_order)

    def run(self, checkpoint: EMCheckpoint | None = None) -> EMResult:
        """Takes all steps, those before a checkpoint excepted."""
        try:
            try:
                self._run(checkpoint)
            except KeyboardInterrupt:
                return self.result(interrupted=True)
            return self.result()
        except KeyboardInterrupt:  # nothing is read for a result: it is there at once
            return self.result(interrupted=True)

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
        place = {"total": self._max_iter, "initial": n_before}
        with progress_bar(desc=title, shown=self._show_progress, **place) as bar:
            if state is None:
                self._start()
            while (state := self._progress.state) is not None:
                most = self._max_iter - state.n_steps
                if checkpoint is not None:
                    most = min(most, checkpoint.every - self._progress.n_steps % checkpoint.every)
                n_taken = self._advance(state, most)
                if not bar.disable:
                    highest = state.log_likelihood.max().item()
                    bar.set_postfix(log_likelihood=f"{highest:.6g}", refresh=False)
                bar.update(n_taken)
                if checkpoint is not None and self._progress.n_steps % checkpoint.every == 0:
                    self._save(checkpoint)

    def _start(self) -> None:
        at = [trace.index for trace in self._progress.at_work]
        state = self._steps.start(self._starts.reindex(lambda t: t[at]))
        endings = endings_at_start(self._starts, state, at, self._max_iter)
        self._progress = replace(self._progress, state=state).with_ended(endings)

    def _advance(self, before: EMState, most: int) -> int:
        """Takes up to ``most`` steps; returns how many it took."""
        progress = self._progress
        after, endings = self._steps.advance(progress.at_work, before, most)
        n_taken = after.n_steps - before.n_steps
        progress = replace(progress, state=after, n_steps=progress.n_steps + n_taken)
        self._progress = progress.with_ended(endings)
        return n_taken

    # -- results ----------------------------------------------------------------------------

    def result(self, *, interrupted: bool = False) -> EMResult:
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
        mixture, rows = best.mixture, self._torch_steps.rows
        beside = rows.known.background
        background = outside = None
        if beside is not None:
            background = beside.join_to(mixture)
            mixture = background.mixture
            outside = None if interrupted else outliers(rows, beside, background)
        return EMResult(
            mixture=GaussianMixture(
                mixture.weights, mixture.means, mixture.covariance, missing=mixture.missing
            ),
            status=Status.INTERRUPTED if interrupted else best.status,
            reason=best.reason + ("; other restarts were interrupted" if others else ""),
            n_iter=len(best.history),
            log_likelihood=best.log_likelihood,
            objective=best.objective,
            history=torch.tensor(best.history, dtype=torch.float64, device="cpu"),
            events=(
                *self._recovery.events_until(best.index, len(best.history)),
                *_seen_once(rows),
            ),
            restarts=torch.tensor(progress.log_likelihoods, dtype=torch.float64, device="cpu"),
            reg_covar=self._torch_steps.algorithm.reg_covar,
            engine=self._steps.name,
            background=background,
            outliers=outside,
        )

    # -- checkpoints ------------------------------------------------------------------------

    def _resume(self, checkpoint: EMCheckpoint) -> None:
        state = checkpoint.load()
        if state is None:
            return self._save(checkpoint)
        self._recovery.load(state["recovery"])
        self._progress = Progress.from_tensors(state["progress"], self._starts)

    def _save(self, checkpoint: EMCheckpoint) -> None:
        """Writes where the fit stands; it goes on as one does that is resumed from there."""
        self._torch_steps.forget_bounds()
        state = {"progress": self._progress.tensors(), "recovery": self._recovery.state()}
        checkpoint.save(state)


def _seen_once(rows: Rows) -> list[Finding]:
    """What rows cannot tell of a column of which there is one value."""
    message = (
        "column {} was observed in one row only, from which no variance can be told; leave it out, "
        "or give a prior"
    )
    return [Finding(None, "underdetermined", message.format(column)) for column in rows.seen_once]
