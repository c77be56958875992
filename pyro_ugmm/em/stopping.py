"""When EM stops: a rule is one class here."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..checks import check_number

__all__ = ["Ascent", "StoppingRule", "Tolerance"]


class Ascent(Protocol):
    """Where steps stand: what stopping rules look at, of an :class:`EMState` or of others.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import Ascent, EMAlgorithm, initialize
        >>> x = torch.randn(100, 2)
        >>> state: Ascent = EMAlgorithm().init(initialize(x, n_components=3), x)
        >>> state.n_steps, state.change
        (0, tensor(inf, dtype=torch.float64))
    """

    @property
    def log_likelihood(self) -> Tensor:
        """The mean per row, in nats, of each mixture of a batch ``(S,)``."""

    @property
    def objective(self) -> Tensor:
        """What the steps raise, likewise."""

    @property
    def change(self) -> Tensor:
        """Of the objective in the last step, likewise; infinite at the start."""

    @property
    def n_steps(self) -> int:
        """How many were taken."""


class StoppingRule(ABC):
    """Says of each mixture of a state whether one more step is the last, and why.

    A rule is a frozen dataclass: its numbers tell it from others, as a checkpoint has to.

    Example:
        >>> import torch
        >>> from dataclasses import dataclass
        >>> from pyro_ugmm.em import EMFitter, StoppingRule, initialize
        >>> @dataclass(frozen=True)
        ... class RelativeChange(StoppingRule):
        ...     share: float
        ...     def is_met(self, state):
        ...         return (state.change.abs() < self.share * state.objective.abs()).tolist()
        ...     def reason(self, state, at, objective):
        ...         return f"converged: the {objective} changed by less than {self.share:.0%}"
        >>> x = torch.randn(100, 2)
        >>> fitter = EMFitter(stopping=RelativeChange(0.01))
        >>> fitter.fit(x, initialize(x, 2, seed=0)).reason
        'converged: the log-likelihood changed by less than 1%'
    """

    @abstractmethod
    def is_met(self, state: Ascent) -> Sequence[bool]:
        """Whether the steps of each mixture of a batch ``(S,)`` end with one more."""

    @abstractmethod
    def reason(self, state: Ascent, at: int, objective: str) -> str:
        """Why those of the mixture ``at`` end, in words, given what they raise."""


@dataclass(frozen=True)
class Tolerance(StoppingRule):
    """Stops where a step changes the objective by less than ``tol``, in nats per row."""

    tol: float

    def __post_init__(self) -> None:
        expected = "a finite non-negative number"
        number = check_number("tol", self.tol, lambda v: 0 <= v < math.inf, expected)
        object.__setattr__(self, "tol", number)

    def is_met(self, state: Ascent) -> list[bool]:
        """Whether the last step changed the objective by less."""
        return [abs(change) < self.tol for change in state.change.tolist()]

    def reason(self, state: Ascent, at: int, objective: str) -> str:
        """Says by how much, and in which step it was found out."""
        return self.words(state.change[at].item(), state.n_steps + 1, objective)

    def words(self, change: float, n_steps: int, objective: str) -> str:
        """Says by how much the objective changed before the last of so many steps."""
        return (
            f"converged: the mean {objective} changed by {change:.3g}, less than "
            f"tol={self.tol:g}, in step {n_steps}"
        )
