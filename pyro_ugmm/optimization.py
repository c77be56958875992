"""Optimization of a stochastic loss: the schedule, the descent and its outcome."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .checks import check_integer, check_number
from .convergence import GradientSignal

__all__ = ["FitResult", "Schedule", "descend"]


@dataclass(frozen=True, repr=False)
class FitResult:
    """The outcome of a training run.

    Attributes:
        losses: the loss at each step, in nats for the full data: the negative log-likelihood, or
            the negative evidence lower bound. Shape ``(n_steps,)``, on the CPU.
        converged: whether the gradients were noise alone by the end of the run; see
            :class:`pyro_ugmm.convergence.GradientSignal`.
        reason: why the run ended, in words, and what to do about it.
        guide: the fitted guide, of a run of SVI.
    """

    losses: Tensor
    converged: bool
    reason: str
    guide: Any = None

    @property
    def n_steps(self) -> int:
        """The number of optimization steps taken."""
        return len(self.losses)

    def __repr__(self) -> str:
        loss = f"{self.losses[-1].item():.4g}" if self.n_steps else "none"
        return (
            f"{type(self).__name__}(converged={self.converged}, n_steps={self.n_steps}, "
            f"final_loss={loss}, reason={self.reason!r})"
        )


@dataclass(frozen=True)
class Schedule:
    """How long to train, on what batches, how fast, from which seed."""

    steps: int
    batch_size: int | None
    learning_rate: float
    seed: int | None
    progress: bool

    def __post_init__(self) -> None:
        check_integer("steps", self.steps)
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size)
        check_number(
            "learning_rate", self.learning_rate, lambda r: 0 < r < math.inf, "a positive number"
        )

    def rate(self, step: int) -> float:
        """The learning rate at a step, as a part of its peak.

        It rises for a tenth of the run, falls along a cosine until six tenths, and stays at a
        twentieth: at a constant rate one can tell whether the loss has settled.
        """
        at = (step + 1) / self.steps
        if at <= 0.1:
            return at / 0.1
        if self.is_cool(step + 1):
            return 0.05
        return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (at - 0.1) / 0.5))

    def is_cool(self, step: int) -> bool:
        """Whether the learning rate has come down to stay."""
        return step >= 0.6 * self.steps

    def batches(self, n_rows: int, device: torch.device) -> Iterator[Tensor | slice]:
        """Yields the rows of each step: shuffled passes over the data, or always all of it."""
        if self.batch_size is None or self.batch_size >= n_rows:
            while True:
                yield slice(None)
        while True:
            order = torch.randperm(n_rows).to(device)
            # The last batch of a pass is short; it would weigh its rows more than the others.
            yield from order[: n_rows - n_rows % self.batch_size].split(self.batch_size)

    @contextlib.contextmanager
    def random_state(self) -> Iterator[None]:
        """Seeds torch's generators within, if there is a seed, and restores them after."""
        if self.seed is None:
            yield
            return
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            yield


def _breakdown(losses: list[Tensor], parameters: dict[str, Tensor]) -> str:
    sizes = {
        name: float(tensor.detach().abs().max().nan_to_num(nan=math.inf))
        for name, tensor in parameters.items()
    }
    worst = max(sizes, key=sizes.__getitem__)
    return (
        f"the loss became {losses[-1].item()} at step {len(losses)}, with values up to "
        f"{sizes[worst]:.3g} in parameter {worst}; the last step was taken back. Lower the "
        "learning rate, or check the scale of the data"
    )


def descend(
    loss_of_rows: Callable[[Tensor | slice], Tensor],
    parameters: dict[str, Tensor],
    n_rows: int,
    schedule: Schedule,
    title: str,
) -> tuple[Tensor, bool, str]:
    """Minimizes a loss by Adam; returns the losses, whether they settled, and why it ended.

    A step after which the loss is not finite is taken back.
    """
    tensors = list(parameters.values())
    optimizer = torch.optim.Adam(tensors, lr=schedule.learning_rate)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.rate)
    signal = GradientSignal(optimizer)
    losses: list[Tensor] = []
    before = [tensor.detach().clone() for tensor in tensors]
    batches = schedule.batches(n_rows, tensors[0].device)
    with tqdm(total=schedule.steps, desc=title, disable=not schedule.progress, delay=1) as bar:
        try:
            for _ in range(schedule.steps):
                loss = loss_of_rows(next(batches))
                losses.append(loss.detach())
                if not loss.isfinite():
                    reason = _breakdown(losses, parameters)
                    with torch.no_grad():
                        torch._foreach_copy_(tensors, before)
                    return torch.stack(losses).cpu(), False, reason
                before = [tensor.detach().clone() for tensor in tensors]
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
                if schedule.is_cool(len(losses)):
                    signal.update()
                bar.update()
                if len(losses) % 50 == 0:
                    bar.set_postfix(loss=f"{loss.item():.4g}", refresh=False)
        except KeyboardInterrupt:
            done = torch.stack(losses).cpu() if losses else torch.zeros(0)
            return done, False, f"interrupted after {len(losses)} of {schedule.steps} steps"
    converged, verdict = signal.verdict()
    return torch.stack(losses).cpu(), converged, f"took {len(losses)} steps; {verdict}"
