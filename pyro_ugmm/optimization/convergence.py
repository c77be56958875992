"""Whether a run of stochastic optimization has converged."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["GradientSignal"]


class GradientSignal:
    r"""The part of stochastic gradients that is signal, from products of successive ones.

    .. math:: \frac{1}{P} \sum_{i=1}^P
        \frac{\overline{g_{t-1,i} \, g_{t,i}}}{\overline{g_{t,i}^2}}

    averaged over the steps :math:`t`. Independent gradients of mean :math:`\mu` and variance
    :math:`s^2` give :math:`\mu^2 / (\mu^2 + s^2)`: one while the loss falls steadily, zero once
    the parameters only wander about an optimum. That the products tell the two apart is the test
    of Pflug (1990) in the form of Chee and Toulis (2018, arXiv:1710.06382); dividing by Adam's
    second moments makes every parameter count alike, and remembers how large the gradients were.

    Args:
        optimizer: the Adam whose gradients are watched.
    """

    threshold = 0.01
    _least_products = 20

    def __init__(self, optimizer: torch.optim.Adam) -> None:
        self._optimizer = optimizer
        self._previous: Tensor | None = None
        self._products: list[Tensor] = []

    @torch.no_grad()
    def update(self) -> None:
        """Takes note of the gradients of the step just made."""
        (group,) = self._optimizer.param_groups
        states = [(p.grad, self._optimizer.state[p]) for p in group["params"] if p.grad is not None]
        gradient = torch.cat([grad.flatten() for grad, _ in states])
        second = torch.cat([state["exp_avg_sq"].flatten() for _, state in states])
        second = second / (1 - group["betas"][1] ** float(states[0][1]["step"]))
        if self._previous is not None:
            tiny = torch.finfo(second.dtype).tiny
            self._products.append((self._previous * gradient / second.clamp(min=tiny)).mean())
        self._previous = gradient

    def state(self) -> dict[str, Any]:
        """Returns all that was noted, as tensors."""
        return {"previous": self._previous, "products": self._products}

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """Takes over what :meth:`state` returned."""
        self._previous = None if state["previous"] is None else state["previous"].to(device)
        self._products = [product.to(device) for product in state["products"]]

    def verdict(self) -> tuple[bool, str]:
        """Says whether the gradients were noise alone, and what that means for the run."""
        if len(self._products) < self._least_products:
            return False, "too few to tell whether the loss settled"
        share = float(torch.stack(self._products).mean())
        if share <= self.threshold:
            return (
                True,
                f"the loss settled: {max(share, 0):.1%} of the gradient was signal at the end",
            )
        return False, (
            f"the loss was still falling: {share:.1%} of the gradient was signal at the end; "
            "give more steps, or a higher learning rate"
        )
