"""Descent along stochastic gradients."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..checkpoint import Checkpoint, check_form
from ..checks import check
from ..fingerprints import fingerprint
from ..processes import current
from ..random_states import random_states, restore_random_states
from ..sources import Batches
from ..status import Status
from .breakdown import bad_parameter, largest_parameter
from .optimizer import Optimizer
from .result import FitResult
from .resumption import Resumption
from .schedule import Schedule
from .stopping import MakesRule, Verdict

__all__ = ["Descent"]


class Descent:
    """Minimizes a loss by Adam.

    A step after which the loss is not finite is taken back. Processes that compute together take
    the same steps, each with rows of its own.

    Args:
        loss_of_rows: the loss of the full data, estimated from rows.
        parameters: what to learn, by name.
        batches: where rows come from.
        schedule: the steps and their learning rates.
        title: of the run.
        diagnose: says which part of the loss of rows is not finite, if it can tell.
        run: what else tells this run from others, for checkpoints.
        stopping: makes what ends the run of the parameters and the schedule.
    """

    def __init__(
        self,
        loss_of_rows: Callable[..., Tensor],
        parameters: dict[str, Tensor],
        batches: Batches,
        schedule: Schedule,
        title: str,
        diagnose: Callable[..., str | None],
        run: Mapping[str, str],
        stopping: MakesRule,
    ) -> None:
        self._loss_of_rows, self._parameters = loss_of_rows, parameters
        self._diagnose, self._run = diagnose, run
        self._batches, self._schedule, self._title = batches, schedule, title
        self._optimizer = Optimizer([*parameters.values()], schedule)
        expected = "the class of a rule, or a function that makes one"
        check(callable(stopping), "stopping", expected, type(stopping).__name__)
        self._rule, self._stopping = stopping([*parameters.values()], schedule), stopping
        self._losses: list[Tensor] = []
        self._cause = ""
        self._processes = current()
        if self._processes.size > 1:
            self._processes.agree(self._identity("of each process"))

    def run(self, checkpoint: Checkpoint | None = None) -> FitResult:
        """Takes all steps, those before a checkpoint excepted; stops at an interrupt."""
        try:
            self._processes.defer_interrupts()
            file = checkpoint
            resumption = None if file is None else Resumption(file, self, self._processes)
            return self._take_steps(resumption)
        except KeyboardInterrupt:
            if bad_parameter(self._parameters):
                self._optimizer.take_back()
            taken = f"interrupted after {len(self._losses)} of {self._schedule.steps} steps"
            return self._result(Verdict(Status.INTERRUPTED, taken))

    def _take_steps(self, resumption: Resumption | None) -> FitResult:
        steps, hide = self._schedule.steps, not self._schedule.progress or self._processes.rank > 0
        taken, is_done = len(self._losses), self.is_done
        with tqdm(total=steps, initial=taken, desc=self._title, disable=hide, delay=1) as bar:
            while not is_done:
                if not self._step():
                    loss, at = self._losses[-1].item(), len(self._losses)
                    return self._breakdown(f"the loss became {loss} at step {at}: {self._cause}")
                taken, is_done = len(self._losses), self.is_done
                if is_done or (resumption and taken % resumption.every == 0):
                    cause = bad_parameter(self._parameters)
                    if cause and is_done:
                        return self._breakdown(f"{cause} after step {taken}")
                    if resumption and not cause:
                        resumption.save()
                bar.update()
                if taken % 50 == 0:
                    bar.set_postfix(loss=f"{self._losses[-1].item():.4g}", refresh=False)
        verdict = self._rule.verdict(self._losses)
        if verdict.average is not None:
            self._optimizer.replace(verdict.average)
        return self._result(replace(verdict, reason=f"took {taken} steps; {verdict.reason}"))

    def _step(self) -> bool:
        """Takes a step; returns False if the loss broke down."""
        rows, random_state = self._batches.next(), torch.get_rng_state()
        loss = self._optimizer.differentiate(self._loss_of_rows(*rows) * self._batches.share)
        self._losses.append(loss)
        if not loss.isfinite():
            with torch.random.fork_rng():
                torch.set_rng_state(random_state)
                self._cause = self._find_cause(rows)
            return False
        self._optimizer.step(len(self._losses) - 1)
        self._rule.update(len(self._losses))
        return True

    def _find_cause(self, rows: tuple[Tensor, ...]) -> str:
        cause = bad_parameter(self._parameters)
        if cause is None:
            causes = self._processes.gather("causes", self._diagnose(*rows))
            if len(causes) > 1:
                causes = [one and f"{one} (on rank {rank})" for rank, one in enumerate(causes)]
            cause = next(filter(None, causes), None)
        return cause or f"there are {largest_parameter(self._parameters)}"

    def _breakdown(self, what: str) -> FitResult:
        """Takes the last step back, if there was one."""
        self._optimizer.take_back()
        if len(self._losses) == 1 and not self._losses[0].isfinite():
            done, remedy = "no step was taken", "Check the scale of the data, and the start"
        else:
            done = "the last step was taken back"
            remedy = "Lower the learning rate, or check the scale of the data"
        return self._result(Verdict(Status.BROKEN_DOWN, f"{what}; {done}. {remedy}"))

    def _result(self, verdict: Verdict) -> FitResult:
        """What comes of the run, in all processes alike: machines may round otherwise."""
        losses = torch.stack(self._losses).cpu() if self._losses else torch.zeros(0)
        averaged_from = verdict.averaged_from
        result = FitResult(losses, verdict.status, verdict.reason, averaged_from=averaged_from)
        self._processes.copy_first([*self._parameters.values()])
        return self._processes.from_first(result)

    # -- checkpoints ------------------------------------------------------------------------

    def identity(self) -> dict[str, str]:
        """What tells this run from others."""
        return self._identity(self._batches.fingerprint())

    def _identity(self, data: str) -> dict[str, str]:
        named = self._parameters.items()
        shapes = {name: (tuple(tensor.shape), str(tensor.dtype)) for name, tensor in named}
        return {
            "title": self._title,
            "parameters": str(shapes),
            "data": data,
            **self._schedule.identity(),
            "stopping rule": f"{type(self._rule).__name__} {fingerprint(self._stopping)}",
            **self._run,
        }

    def state(self) -> dict[str, Any]:
        """All that the steps to come depend on, as tensors and numbers."""
        tensors = [tensor.detach() for tensor in self._parameters.values()]
        losses = torch.stack(self._losses) if self._losses else tensors[0].new_zeros(0)
        random = random_states(on_gpu=any(tensor.is_cuda for tensor in tensors))
        return {
            "optimizer": self._optimizer.state(),
            "rule": self._rule.state(),
            "losses": losses,
            "batches": self._batches.state(),
            "random": self._processes.gather("random states", random),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state` returned, perhaps in another process.

        Raises:
            ValueError: if it is not of the form that this run's has.
        """
        own = self.state()
        check(state.keys() == own.keys(), "state", f"{[*own]}", f"{[*state]}")
        for part in ("optimizer", "rule"):
            check_form(state[part], own[part], part)
        given = state["optimizer"]["parameters"]
        bad = bad_parameter(dict(zip(self._parameters, given, strict=True)))
        check(bad is None, "parameters", "finite ones", bad)
        losses, device = state["losses"], next(iter(self._parameters.values())).device
        is_list = losses.is_floating_point() and losses.dim() == 1
        fits = is_list and len(losses) <= self._schedule.steps
        got = f"{tuple(losses.shape)} of {losses.dtype}"
        check(fits, "losses", f"up to {self._schedule.steps} numbers", got)
        self._batches.load(state["batches"])
        restore_random_states(state["random"][self._processes.rank])
        self._optimizer.load(state["optimizer"])
        self._rule.load(state["rule"])
        self._losses = list(losses.to(device))

    @property
    def is_done(self) -> bool:
        """Whether all steps are taken, or no more are needed; an interrupt of one process is one of
        all.
        """
        is_done = len(self._losses) == self._schedule.steps or self._rule.is_met(self._losses)
        is_done, interrupted = self._processes.any_of(is_done, self._processes.interrupts > 0)
        if interrupted:
            raise KeyboardInterrupt
        return is_done
