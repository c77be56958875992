"""What ends a run of training: rules that look at its losses and parameters."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..status import Status
from .schedule import Schedule

__all__ = ["MakesRule", "StoppingRule", "Verdict"]


@dataclass(frozen=True, eq=False)
class Verdict:
    """How a run ended.

    Attributes:
        status: how it ended.
        reason: why, in words with figures.
        average: the parameters that are to replace the last ones, if they are to be.
        averaged_from: the step from which on these were averaged.
    """

    status: Status
    reason: str
    average: list[Tensor] | None = None
    averaged_from: int | None = None


class StoppingRule(ABC):
    """Looks on while a run takes its steps, may end it, and says at the end how it went.

    A rule is made of the run's parameters, which change in place, and its schedule.
    """

    def update(self, n_steps: int) -> None:  # noqa: B027
        """Takes note of the parameters after that many steps."""

    def is_met(self, losses: Sequence[Tensor]) -> bool:
        """Whether the run ends before its last step; ``losses`` are those of the steps so far."""
        return False

    @abstractmethod
    def verdict(self, losses: Sequence[Tensor]) -> Verdict:
        """Judges a run that took all its steps, or was ended."""

    def state(self) -> dict[str, Any]:
        """Returns all that was noted, as tensors and numbers."""
        return {}

    def load(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Takes over what :meth:`state` returned."""


MakesRule = Callable[[Sequence[Tensor], Schedule], StoppingRule]
"""Such as the class of a rule; with numbers of its own, a ``functools.partial`` of that."""
