"""Descent along stochastic gradients."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import Checkpoint, check_form
from ..checks import check
from ..fingerprints import fingerprint
from ..processes import current
from ..progress_bars import progress_bar
from ..random_states import random_states, restore_random_states
from ..sources import Batches
from .breakdown import bad_parameter, largest_parameter
from .objective import Objective
from .optimizer import Optimizer
from .result import FitResult
from .resumption import Resumption
from .schedule import Schedule
from .stopping import MakesRule
from .trajectory import Trajectory

__all__ = ["Descent"]


class Descent:
    """Minimizes a loss by Adam.

    A step after which the loss is not finite is taken back. Processes that compute together take
    the same steps, each with rows of its own.

    Args:
        objective: the loss and its parameters.
        batches: where rows come from.
        schedule: the steps and their learning rates.
        run: what else tells this run from others, for checkpoints.
        stopping: makes what ends the run of the parameters and the schedule.
    """

    def __init__(
        self,
        objective: Objective,
        batches: Batches,
        schedule: Schedule,
        run: Mapping[str, str],
        stopping: MakesRule,
    ) -> None:
        self._objective, self._parameters = objective, objective.parameters
        self._batches, self._schedule, self._run = batches, schedule, run
        self._optimizer = Optimizer([*self._parameters.values()], schedule)
        self._trajectory, self._stopping = (
            Trajectory(self._parameters, schedule, stopping),
            stopping,
        )
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
            return self._agreed(self._trajectory.interrupted())

    def _take_steps(self, resumption: Resumption | None) -> FitResult:
        steps = self._schedule.steps
        shown = self._schedule.progress and self._processes.rank == 0
        losses, title = self._trajectory.losses, self._objective.title
        taken, is_done = len(losses), self.is_done
        with progress_bar(total=steps, initial=taken, desc=title, shown=shown) as bar:
            while not is_done:
                if not self._step():
                    return self._taken_back(self._trajectory.lost(self._cause))
                taken, is_done = len(losses), self.is_done
                if is_done or (resumption and taken % resumption.every == 0):
                    cause = bad_parameter(self._parameters)
                    if cause and is_done:
                        return self._taken_back(
                            self._trajectory.broke_down(f"{cause} after step {taken}")
                        )
                    if resumption and not cause:
                        resumption.save()
                bar.update()
                if taken % 50 == 0:
                    bar.set_postfix(loss=f"{losses[-1].item():.4g}", refresh=False)
        return self._agreed(self._trajectory.ended())

    def _step(self) -> bool:
        """Takes a step; returns False if the loss broke down."""
        rows, random_state = self._batches.next(), torch.get_rng_state()
        loss = self._objective.loss_of_rows(*rows) * self._batches.share
        losses = self._trajectory.losses
        losses.append(self._optimizer.differentiate(loss))
        if not losses[-1].isfinite():
            with torch.random.fork_rng():
                torch.set_rng_state(random_state)
                self._cause = self._find_cause(rows)
            return False
        self._optimizer.step(len(losses) - 1)
        self._trajectory.rule.update(len(losses))
        return True

    def _find_cause(self, rows: tuple[Tensor, ...]) -> str:
        cause = bad_parameter(self._parameters)
        if cause is None:
            causes = self._processes.gather("causes", self._objective.diagnose(*rows))
            if len(causes) > 1:
                causes = [one and f"{one} (on rank {rank})" for rank, one in enumerate(causes)]
            cause = next(filter(None, causes), None)
        return cause or f"there are {largest_parameter(self._parameters)}"

    def _taken_back(self, result: FitResult) -> FitResult:
        """Takes the last step back, if there was one."""
        self._optimizer.take_back()
        return self._agreed(result)

    def _agreed(self, result: FitResult) -> FitResult:
        """What comes of the run, in all processes alike: machines may round otherwise."""
        self._processes.copy_first([*self._parameters.values()])
        return self._processes.from_first(result)

    # -- checkpoints ------------------------------------------------------------------------

    def identity(self) -> dict[str, str]:
        """What tells this run from others."""
        return self._identity(self._batches.fingerprint())

    def _identity(self, data: str) -> dict[str, str]:
        named = self._parameters.items()
        shapes = {name: (tuple(tensor.shape), str(tensor.dtype)) for name, tensor in named}
        rule = type(self._trajectory.rule).__name__
        return {
            "title": self._objective.title,
            "parameters": str(shapes),
            "data": data,
            **self._schedule.identity(),
            "stopping rule": f"{rule} {fingerprint(self._stopping)}",
            **self._run,
        }

    def state(self) -> dict[str, Any]:
        """All that the steps to come depend on, as tensors and numbers."""
        tensors = [tensor.detach() for tensor in self._parameters.values()]
        noted = self._trajectory.losses
        losses = torch.stack(noted) if noted else tensors[0].new_zeros(0)
        random = random_states(on_gpu=any(tensor.is_cuda for tensor in tensors))
        return {
            "optimizer": self._optimizer.state(),
            "rule": self._trajectory.rule.state(),
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
        self._trajectory.rule.load(state["rule"])
        self._trajectory.losses[:] = losses.to(device)

    @property
    def is_done(self) -> bool:
        """Whether all steps are taken, or no more are needed; an interrupt of one process is one of
        all.
        """
        processes = self._processes
        is_done, interrupted = processes.any_of(self._trajectory.is_done, processes.interrupts > 0)
        if interrupted:
            raise KeyboardInterrupt
        return is_done
