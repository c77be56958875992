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

    Example:
        >>> from pyro_ugmm.optimization.stopping import Verdict
        >>> from pyro_ugmm.status import Status
        >>> Verdict(Status.CONVERGED, "the loss is below 50").average is None
        True
    """

    status: Status
    reason: str
    average: list[Tensor] | None = None
    averaged_from: int | None = None


class StoppingRule(ABC):
    """Looks on while a run takes its steps, may end it, and says at the end how it went.

    A rule is made of the run's parameters, which change in place, and its schedule.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.optimization.stopping import StoppingRule, Verdict
        >>> from pyro_ugmm.status import Status
        >>> from pyro_ugmm.training import fit_mle
        >>> class LowEnough(StoppingRule):
        ...     def __init__(self, parameters, schedule):
        ...         pass
        ...     def is_met(self, losses):
        ...         return len(losses) > 0 and bool(losses[-1] < 30)
        ...     def verdict(self, losses):
        ...         status = Status.CONVERGED if self.is_met(losses) else Status.LIMIT_REACHED
        ...         return Verdict(status, f"the loss is {losses[-1]:.0f}")
        >>> x = torch.cat([torch.randn(50, 2) - 3, torch.randn(50, 2) + 3])
        >>> model, y = UGMMClassifier(UGMMNetwork([2, 2])), torch.arange(100) // 50
        >>> fit_mle(model, x, y, steps=500, stopping=LowEnough, progress=False).status.name
        'CONVERGED'
    """

    def update(self, n_steps: int) -> None:  # noqa: B027
        """Takes note of the parameters after that many steps."""

    def is_met(self, losses: Sequence[Tensor]) -> bool:
        """Whether the run ends before its last step; ``losses`` are those of the steps so
        far, none at first.
        """
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
