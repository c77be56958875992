"""How long to train, how fast, from which seed."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from numbers import Real

import torch
from torch import Tensor

from ..checks import check, check_integer, check_number

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
        check_integer("steps", self.steps)
        expected = "a positive number"
        if callable(self.learning_rate):
            rates = [self.learning_rate(step) for step in range(self.steps)]
            for step, rate in enumerate(rates):
                valid = isinstance(rate, Real | Tensor) and 0 <= float(rate) < math.inf
                got = f"{rate!r} at step {step}"
                check(valid, "learning_rate", "non-negative numbers", got)
            object.__setattr__(self, "_rates", tuple(map(float, rates)))
        else:
            check_number("learning_rate", self.learning_rate, lambda r: 0 < r < math.inf, expected)
        if self.max_gradient_norm is not None:
            norm = self.max_gradient_norm
            check_number("max_gradient_norm", norm, lambda n: 0 < n < math.inf, expected)

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

    def is_cool(self, step: int) -> bool:
        """Whether the learning rate has come down to stay."""
        return step >= 0.6 * self.steps

    @contextlib.contextmanager
    def random_state(self) -> Iterator[None]:
        """Seeds torch's generators within, if there is a seed, and restores them after."""
        if self.seed is None:
            yield
            return
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            yield
