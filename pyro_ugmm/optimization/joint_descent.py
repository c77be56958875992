"""Descent from several starts at once."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..progress_bars import progress_bar
from ..sources import Batches
from .breakdown import bad_parameter, largest_parameter
from .objective import Objective
from .optimizer import Optimizer
from .result import FitResult
from .schedule import Schedule
from .stopping import MakesRule
from .trajectory import Trajectory

__all__ = ["JointDescent"]


class JointDescent:
    """Minimizes the losses of several starts, each as :class:`Descent` does that of one.

    All see the same rows. A start that its rule ends, or that breaks down, stays what it is then,
    and the others go on.

    Args:
        objectives: of each start, whose parameters are what it comes to.
        losses_of_rows: evaluates the losses of all starts, shape ``(S,)``.
        parameters: those of all starts by name, ``(S, 1)`` and their shapes.
        batches: where rows come from.
        schedule: the steps and their learning rates.
        stopping: makes what ends a start's run.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        losses_of_rows: Callable[..., Tensor],
        parameters: Mapping[str, Tensor],
        batches: Batches,
        schedule: Schedule,
        stopping: MakesRule,
    ) -> None:
        self._objectives, self._losses_of_rows = objectives, losses_of_rows
        self._batches, self._schedule, self._taken = batches, schedule, 0
        self._optimizer = Optimizer([*parameters.values()], schedule)
        self._results: dict[int, FitResult] = {}
        self._going = {
            start: Trajectory(
                {name: tensor.detach()[start, 0] for name, tensor in parameters.items()},
                schedule,
                stopping,
            )
            for start in range(len(objectives))
        }

    def run(self) -> list[FitResult]:
        """Takes all steps; stops at an interrupt."""
        try:
            self._take_steps()
        except KeyboardInterrupt:
            for start, trajectory in [*self._going.items()]:
                if bad_parameter(trajectory.parameters):
                    self._optimizer.take_back(start)
                self._leave(start, trajectory.interrupted())
        return [self._results[start] for start in range(len(self._objectives))]

    def _take_steps(self) -> None:
        title = f"{self._objectives[0].title} from {len(self._objectives)} starts"
        steps, shown = self._schedule.steps, self._schedule.progress
        with progress_bar(total=steps, desc=title, shown=shown) as bar:
            self._end_those_done()
            while self._going:
                self._step()
                bar.update()
                if self._going and self._taken % 50 == 0:
                    last = [float(one.losses[-1]) for one in self._going.values()]
                    said = f"{min(last):.4g} to {max(last):.4g}"
                    bar.set_postfix(losses=said, refresh=False)

    def _step(self) -> None:
        """Takes a step of all starts that are left."""
        rows = self._batches.next()
        losses = self._optimizer.differentiate(self._losses_of_rows(*rows))
        are_finite = losses.isfinite().tolist()
        for start, trajectory in [*self._going.items()]:
            trajectory.losses.append(losses[start])
            if not are_finite[start]:
                cause = self._find_cause(start, rows)
                self._optimizer.take_back(start)
                self._leave(start, trajectory.lost(cause))
        self._optimizer.step(self._taken)
        self._taken += 1
        for trajectory in self._going.values():
            trajectory.rule.update(self._taken)
        self._end_those_done()

    def _end_those_done(self) -> None:
        for start, trajectory in [*self._going.items()]:
            if not trajectory.is_done:
                continue
            cause = bad_parameter(trajectory.parameters)
            if cause:
                self._optimizer.take_back(start)
                self._leave(start, trajectory.broke_down(f"{cause} after step {self._taken}"))
            else:
                self._leave(start, trajectory.ended())

    def _find_cause(self, start: int, rows: tuple[Tensor, ...]) -> str:
        self._hand_over(start)
        objective = self._objectives[start]
        with torch.random.fork_rng():
            cause = bad_parameter(objective.parameters) or objective.diagnose(*rows)
        return cause or f"there are {largest_parameter(objective.parameters)}"

    @torch.no_grad()
    def _hand_over(self, start: int) -> None:
        """Gives a start's own parameters the values that they have here."""
        own, here = self._objectives[start].parameters, self._going[start].parameters
        torch._foreach_copy_([*own.values()], [here[name] for name in own])

    def _leave(self, start: int, result: FitResult) -> None:
        self._hand_over(start)
        self._results[start] = result
        del self._going[start]
