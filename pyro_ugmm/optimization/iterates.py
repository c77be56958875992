"""The parameters of the last steps: their average, and whether they still travel."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Iterates"]


class Iterates:
    r"""The parameters of the last steps: their average, and whether they still travel.

    .. math:: \hat R^2 = \frac{n - 1}{n} + \frac{(\bar\theta_1 - \bar\theta_2)^2}{2 \, W}

    compares a parameter's averages in the first and the second half of the steps with its variance
    :math:`W` within halves of :math:`n` steps. It is near one where the parameter only wanders
    about the optimum, and at its largest, :math:`\sqrt 7`, where it goes in one direction. Source:
    Dhaka and others (2020), *Robust, accurate stochastic optimization for variational inference*,
    arXiv:2009.00666.

    Args:
        tensors: the parameters.
        count: how many steps there will be.
    """

    def __init__(self, tensors: Sequence[Tensor], count: int) -> None:
        self._tensors, self._count, self._done = tensors, count, 0
        # Sums are of deviations from an origin, since squares cancel.
        self._origin = [torch.zeros_like(tensor.detach()) for tensor in tensors]
        self._sums, self._squares = (
            [[tensor.clone() for tensor in self._origin] for _ in range(2)] for _ in range(2)
        )

    @torch.no_grad()
    def update(self) -> None:
        """Takes note of the parameters as they are now."""
        now = [tensor.detach() for tensor in self._tensors]
        if not self._done:
            torch._foreach_copy_(self._origin, now)
        half = int(2 * self._done >= self._count)
        deviations = torch._foreach_sub(now, self._origin)
        torch._foreach_add_(self._sums[half], deviations)
        torch._foreach_addcmul_(self._squares[half], deviations, deviations)
        self._done += 1

    def average(self) -> list[Tensor]:
        """The average parameters; a log weight of minus infinity is one at every step."""
        return [
            torch.where(origin.isfinite(), origin + (first + second) / self._done, origin)
            for origin, first, second in zip(self._origin, *self._sums, strict=True)
        ]

    def split(self) -> float:
        r"""The median :math:`\hat R` of all parameters that moved."""
        first = (self._count + 1) // 2
        counts = (first, self._count - first)
        ratios = []
        for noted in zip(*self._sums, *self._squares, strict=True):
            *sums, a, b = (tensor.cpu().double() for tensor in noted)  # some GPUs have no doubles
            means = [s / n for s, n in zip(sums, counts, strict=True)]
            within = [
                (q / n - m.square()) * (n / (n - 1))
                for q, m, n in zip((a, b), means, counts, strict=True)
            ]
            variance = (within[0] + within[1]) / 2
            between = (means[0] - means[1]).square() / 2
            ratio = (counts[0] - 1) / counts[0] + between / variance
            ratios.append(ratio[variance > 0].sqrt())
        values = torch.cat(ratios)
        return float(values.median()) if len(values) else 1.0

    def state(self) -> dict[str, Any]:
        """Returns all that was noted, as tensors and numbers."""
        return {
            "done": self._done,
            "origin": self._origin,
            "sums": self._sums,
            "squares": self._squares,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state` returned."""
        self._done = state["done"]
        torch._foreach_copy_(self._origin, state["origin"])
        for name, own in (("sums", self._sums), ("squares", self._squares)):
            for half, noted in zip(own, state[name], strict=True):
                torch._foreach_copy_(half, noted)
