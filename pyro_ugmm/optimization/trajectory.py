"""The way of one start: its losses, the rule that may end it, and how it ended."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..checks import check
from ..status import Status
from .result import FitResult
from .schedule import Schedule
from .stopping import MakesRule, Verdict

__all__ = ["Trajectory"]


class Trajectory:
    """Parameters that change in place, and what is known of their steps.

    Args:
        parameters: what is learned, by name.
        schedule: the steps.
        stopping: makes what ends the run of the parameters and the schedule.
    """

    def __init__(
        self, parameters: Mapping[str, Tensor], schedule: Schedule, stopping: MakesRule
    ) -> None:
        expected = "the class of a rule, or a function that makes one"
        check(callable(stopping), "stopping", expected, type(stopping).__name__)
        self.parameters, self._steps = parameters, schedule.steps
        self.rule = stopping([*parameters.values()], schedule)
        self.losses: list[Tensor] = []

    @property
    def is_done(self) -> bool:
        """Whether all steps are taken, or no more are needed."""
        return len(self.losses) == self._steps or self.rule.is_met(self.losses)

    def ended(self) -> FitResult:
        """By the rule; the parameters become their average, if they are to."""
        verdict = self.rule.verdict(self.losses)
        if verdict.average is not None:
            with torch.no_grad():
                torch._foreach_copy_([*self.parameters.values()], verdict.average)
        reason = f"took {len(self.losses)} steps; {verdict.reason}"
        return self._result(replace(verdict, reason=reason))

    def interrupted(self) -> FitResult:
        """By the keyboard."""
        taken = f"interrupted after {len(self.losses)} of {self._steps} steps"
        return self._result(Verdict(Status.INTERRUPTED, taken))

    def broke_down(self, what: str) -> FitResult:
        """By a number that is not finite, after which the last step was taken back."""
        if len(self.losses) == 1 and not self.losses[0].isfinite():
            done, remedy = "no step was taken", "Check the scale of the data, and the start"
        else:
            done = "the last step was taken back"
            remedy = "Lower the learning rate, or check the scale of the data"
        return self._result(Verdict(Status.BROKEN_DOWN, f"{what}; {done}. {remedy}"))

    def lost(self, cause: str) -> FitResult:
        """By the last loss, which is not finite."""
        loss, at = self.losses[-1].item(), len(self.losses)
        return self.broke_down(f"the loss became {loss} at step {at}: {cause}")

    def _result(self, verdict: Verdict) -> FitResult:
        losses = torch.stack(self.losses).cpu() if self.losses else torch.zeros(0)
        averaged_from = verdict.averaged_from
        return FitResult(losses, verdict.status, verdict.reason, averaged_from=averaged_from)
