"""Adam along a schedule, whose last step can be taken back."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..processes import current
from .schedule import Schedule

__all__ = ["Optimizer"]

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Optimizer:
    """Parameters, moved by Adam along a schedule; the last step can be taken back.

    Those of several processes move alike, along the sum of their gradients.

    Args:
        tensors: the parameters.
        schedule: the steps and their learning rates.
    """

    def __init__(self, tensors: Sequence[Tensor], schedule: Schedule) -> None:
        self._tensors, self._schedule = list(tensors), schedule
        self._optimizer = torch.optim.Adam(self._tensors, lr=1.0, fused=True)
        self._processes = current()
        self._before = [tensor.detach().clone() for tensor in self._tensors]

    def differentiate(self, loss: Tensor) -> Tensor:
        """Takes the gradient of a loss, of which each process has a part; returns all of it.

        Of several losses, each of parameters of its own, it takes that of each.
        """
        self._optimizer.zero_grad()
        loss.backward(torch.ones_like(loss))
        if self._processes.size == 1:
            return loss.detach()
        gradients = [tensor.grad for tensor in self._tensors if tensor.grad is not None]
        total, *sums = self._processes.all_reduce([loss.detach(), *gradients])
        torch._foreach_copy_(gradients, sums)
        return total

    def step(self, step: int) -> None:
        """Takes a step, counted from zero, down the gradient."""
        with torch.no_grad():
            torch._foreach_copy_(self._before, self._tensors)
        if self._schedule.max_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._tensors, self._schedule.max_gradient_norm)
        self._optimizer.param_groups[0]["lr"] = self._schedule.rate(step)
        self._optimizer.step()

    @torch.no_grad()
    def take_back(self, part: Any = ...) -> None:
        """Undoes the last step, if there was one; of a part of all parameters, or all of them."""
        now, before = ([tensor[part] for tensor in of] for of in (self._tensors, self._before))
        torch._foreach_copy_(now, before)

    def state(self) -> dict[str, Any]:
        """Returns all of this, as tensors and numbers."""
        return {
            "parameters": [tensor.detach().clone() for tensor in self._tensors],
            "moments": [self._moments(tensor) for tensor in self._tensors],
        }

    def _moments(self, tensor: Tensor) -> list[Tensor]:
        """What Adam knows of a parameter, which is nothing before its first step."""
        known = self._optimizer.state.get(tensor, {})
        first, second = (torch.zeros_like(tensor.detach()) for _ in range(2))
        none = torch.zeros((), dtype=torch.float32), first, second
        return [known.get(name, zero) for name, zero in zip(_MOMENTS, none, strict=True)]

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state` returned."""
        moments = [
            {name: tensor.clone() for name, tensor in zip(_MOMENTS, known, strict=True)}
            for known in state["moments"]
        ]
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": dict(enumerate(moments)), "param_groups": groups})
        with torch.no_grad():
            torch._foreach_copy_(self._tensors, state["parameters"])
            torch._foreach_copy_(self._before, self._tensors)
