"""Whether a run's loss and parameters settled while the learning rate was low."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..status import Status
from .iterates import Iterates
from .schedule import Schedule
from .stopping import StoppingRule, Verdict

__all__ = ["Settled", "loss_fall", "verdict"]

_LEAST_ITERATES = 20
# Halves of a random walk have 1.4 (median), those of a straight line the square root of seven.
_MOST_SPLIT = 1.9
# In nats: a loss that falls by less over the last steps is at rest.
_LEAST_FALL = 0.1


class Settled(StoppingRule):
    """Takes all steps, and asks at the end whether the loss and the parameters had settled.

    If the parameters only wander about the optimum by the end, their average over the steps since
    the learning rate came down is nearer to it than where they happen to be last (Polyak and
    Juditsky 1992; for variational inference, Dhaka and others 2020, arXiv:2009.00666), and is what
    they become.
    """

    def __init__(self, parameters: Sequence[Tensor], schedule: Schedule) -> None:
        self._schedule = schedule
        self._iterates = Iterates(parameters, schedule.steps - schedule.cool_from)

    def update(self, n_steps: int) -> None:
        """Takes note of the parameters, once the learning rate has come down to stay."""
        if self._schedule.is_cool(n_steps):
            self._iterates.update()

    def verdict(self, losses: Sequence[Tensor]) -> Verdict:
        """Judges the steps since the learning rate came down."""
        first = self._schedule.cool_from
        status, reason = verdict(self._iterates, torch.stack([*losses[first:]]))
        if status is Status.CONVERGED:
            return Verdict(status, reason, self._iterates.average(), first)
        return Verdict(status, reason)

    def state(self) -> dict[str, Any]:
        """Returns all that was noted, as tensors and numbers."""
        return self._iterates.state()

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state` returned."""
        self._iterates.load(state)


def loss_fall(losses: Tensor) -> tuple[float, float]:
    """By how much the second half of losses is lower on average, and the standard error of that."""
    first, second = losses.cpu().double().tensor_split(2)
    error = (first.var() / len(first) + second.var() / len(second)).sqrt()
    return float(first.mean() - second.mean()), float(error)


def verdict(iterates: Iterates, losses: Tensor) -> tuple[Status, str]:
    """Says whether a run settled, and what to do if it did not.

    It did not if the loss fell, by more than three standard errors, over the last steps; nor if
    the parameters travelled in one direction, unless the loss is known well enough to say that
    this does not matter.

    Args:
        iterates: the parameters of the last steps.
        losses: the losses there, shape ``(n,)``.

    Example:
        >>> import torch
        >>> from pyro_ugmm.optimization.convergence import verdict
        >>> from pyro_ugmm.optimization.iterates import Iterates
        >>> parameter = torch.zeros(3)
        >>> iterates, losses = Iterates([parameter], 100), torch.linspace(20, 10, 100)
        >>> for loss in losses:
        ...     iterates.update()
        >>> status, reason = verdict(iterates, losses)
        >>> status.name, reason
        ('LIMIT_REACHED', 'the loss was still falling, by 5.05 nats ... or a higher ...')
    """
    if len(losses) < _LEAST_ITERATES:
        return Status.LIMIT_REACHED, "too few to tell whether the loss settled"
    (fall, error), split = loss_fall(losses), iterates.split()
    remedy = "give more steps, or a higher learning rate"
    window = f"over the last {len(losses)}"
    if fall > max(3 * error, _LEAST_FALL):
        return Status.LIMIT_REACHED, (
            f"the loss was still falling, by {fall:.3g} nats (standard error {error:.1g}) between "
            f"the halves of the last {len(losses)}; {remedy}"
        )
    if fall < -max(3 * error, _LEAST_FALL):
        return Status.LIMIT_REACHED, (
            f"the loss was rising, by {-fall:.3g} nats (standard error {error:.1g}) between the "
            f"halves of the last {len(losses)}; lower the learning rate"
        )
    if split > _MOST_SPLIT and fall + 2 * error > _LEAST_FALL and math.isfinite(split):
        return Status.LIMIT_REACHED, (
            f"the parameters still went in one direction {window} (median R-hat of their halves "
            f"{split:.2f}), with a loss too noisy to see it; {remedy}"
        )
    said = f"the loss settled {window} (their halves differ by {abs(fall):.2g} nats)"
    return Status.CONVERGED, said
