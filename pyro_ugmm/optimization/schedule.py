"""How long to train, how fast, from which seed."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..checks import check_flag, check_integer, check_number, check_seed
from ..fingerprints import fingerprint

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """The steps of a run and their learning rates.

    Attributes:
        steps: how many.
        learning_rate: the peak of a rate that rises and falls, or the rate at each step.
        max_gradient_norm: the norm to which longer gradients are cut, if there is one.
        seed: for draws and batches.
        progress: whether to show a progress bar.
    """

    steps: int
    learning_rate: float | Callable[[int], float]
    max_gradient_norm: float | None = None
    seed: int | None = None
    progress: bool = True
    _rates: tuple[float, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        plain: dict[str, Any] = {"steps": check_integer("steps", self.steps)}
        plain["seed"] = check_seed("seed", self.seed)
        plain["progress"] = check_flag("progress", self.progress)
        expected, rate = "a positive number", self.learning_rate
        if callable(rate):
            rates = tuple(_checked_rate(rate(step), step) for step in range(plain["steps"]))
            plain["_rates"] = rates
        else:
            plain["learning_rate"] = check_number("learning_rate", rate, _is_positive, expected)
        norm = self.max_gradient_norm
        if norm is not None:
            number = check_number("max_gradient_norm", norm, _is_positive, expected)
            plain["max_gradient_norm"] = number
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def rate(self, step: int) -> float:
        """The learning rate at a step, counted from zero.

        It rises for a tenth of the run, falls along a cosine until six tenths, and stays at a
        twentieth: at a constant rate one can tell whether the loss has settled.
        """
        if callable(self.learning_rate):
            return self._rates[min(step, self.steps - 1)]
        at = (step + 1) / self.steps
        if at <= 0.1:
            return self.learning_rate * at / 0.1
        if self.is_cool(step + 1):
            return self.learning_rate * 0.05
        falling = 0.5 * (1 + math.cos(math.pi * (at - 0.1) / 0.5))
        return self.learning_rate * (0.05 + 0.95 * falling)

    def is_cool(self, n_steps: int) -> bool:
        """Whether the learning rate has come down to stay after that many steps."""
        return n_steps >= 0.6 * self.steps

    @property
    def cool_from(self) -> int:
        """The step, counted from zero, from which on it has."""
        return next(step for step in range(self.steps) if self.is_cool(step + 1))

    def identity(self) -> dict[str, str]:
        """What tells this schedule from others."""
        rates = [self.rate(step) for step in range(self.steps)]
        return {
            "steps": str(self.steps),
            "learning rates": f"{min(rates):.9g} to {max(rates):.9g}, {fingerprint(rates)}",
            "max_gradient_norm": str(self.max_gradient_norm),
            "seed": str(self.seed),
        }


def _is_positive(number: float) -> bool:
    return 0 < number < math.inf


def _checked_rate(rate: Any, step: int) -> float:
    try:
        valid, expected = (lambda r: 0 <= r < math.inf), "non-negative numbers"
        return check_number("learning_rate", rate, valid, expected)
    except ValueError as error:
        raise ValueError(f"{error} at step {step}") from None
