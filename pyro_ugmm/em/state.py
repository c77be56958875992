"""Where EM stands between two steps."""

import math
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from ..accumulation import double_device
from ..distributions import GaussianMixture
from .statistics import SufficientStatistics

__all__ = ["EMState", "largest_mean"]

_NUMBERS = ("log_likelihood", "objective", "change")


def largest_mean(dtype: torch.dtype) -> float:
    """What a mean log-likelihood within the range of a dtype stays below, in size.

    Whether a sum beyond it becomes infinite depends on the order in which a processor adds.
    """
    return torch.finfo(dtype).max ** 0.75


@dataclass(frozen=True, eq=False)
class EMState:
    """A mixture, and what the E-step found of the rows under it.

    Attributes:
        mixture: of batch shape ``()``, or ``(S,)`` for as many at once.
        statistics: from which the next M-step makes a mixture; ``None`` after a last E-step.
        log_likelihood: the mean per row, or per unit of weight, in nats; of the batch's shape, as
            are the following.
        objective: what the steps raise: with a prior, the mean log posterior but for a constant.
        change: of the objective in the last step; infinite at the start.
        n_steps: how many were taken.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import EMAlgorithm, initialize
        >>> x = torch.randn(100, 2)
        >>> state = EMAlgorithm().init(initialize(x, n_components=3), x)
        >>> state.n_steps, state.change
        (0, tensor(inf, dtype=torch.float64))
    """

    mixture: GaussianMixture
    statistics: SufficientStatistics | None
    log_likelihood: Tensor
    objective: Tensor
    change: Tensor
    n_steps: int

    def soundness(self) -> list[bool]:
        """Whether the numbers of each mixture of a batch ``(S,)`` are within their range.

        The objective at a start may be minus infinity.
        """
        largest = largest_mean(self.mixture.means.dtype)
        least = -largest if self.n_steps else -math.inf
        pairs = zip(self.log_likelihood.tolist(), self.objective.tolist(), strict=True)
        return [abs(value) <= largest and least <= goal <= largest for value, goal in pairs]

    def select(self, at: list[int]) -> Self:
        """Returns the state of some of the mixtures of a batch ``(S,)``."""
        statistics = self.statistics
        if statistics is not None:
            statistics = statistics.map(lambda t: t[at] if t.dim() else t)
        return type(self)(
            mixture=self.mixture.reindex(lambda t: t[at]),
            statistics=statistics,
            n_steps=self.n_steps,
            **{name: getattr(self, name)[at] for name in _NUMBERS},
        )

    def tensors(self) -> dict[str, Any]:
        """Returns tensors and numbers by name, for :meth:`from_tensors`; of no last E-step."""
        assert self.statistics is not None
        return {
            "mixture": self.mixture.tensors(computed=True),
            "statistics": self.statistics.sums,
            "has_background": self.statistics.has_background,
            "n_steps": self.n_steps,
            **{name: getattr(self, name) for name in _NUMBERS},
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Any], like: GaussianMixture) -> Self:
        """Takes what :meth:`tensors` gave, for a mixture of the same kind on its own device."""
        device = like.means.device
        kept = {name: t.to(device) for name, t in tensors["mixture"].items()}
        mixture = like.from_tensors(kept, like.covariance.name, missing=like.missing)
        doubles, sums = double_device(device), tensors["statistics"]
        places = {"log_likelihood": doubles, "weight": doubles}
        statistics = SufficientStatistics(
            covariance=mixture.covariance,
            pivots=mixture.means,
            missing=like.missing,
            has_background=tensors["has_background"],
            **{name: t.to(places.get(name, device)) for name, t in sums.items()},
        )
        numbers = {name: tensors[name].to(doubles) for name in _NUMBERS}
        return cls(mixture, statistics, n_steps=tensors["n_steps"], **numbers)
