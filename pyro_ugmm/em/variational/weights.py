"""Distributions of a mixture's weights that rows update in closed form."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.distributions import Dirichlet

from .stick_breaking import GeneralizedDirichlet

__all__ = ["WEIGHT_DISTRIBUTIONS", "WeightDistribution"]


class WeightDistribution(ABC):
    """What rows and their expected logarithms need to know of a distribution of weights."""

    @classmethod
    @abstractmethod
    def prior(cls, concentration: float, like: Tensor) -> Self:
        """Makes the prior of as many weights as ``like`` has, ``(K,)``."""

    @abstractmethod
    def updated(self, mass: Tensor) -> Self:
        """Adds the rows of each component, ``(K,)``."""

    @abstractmethod
    def mean(self) -> Tensor:
        """The expected weights, ``(K,)``, which sum to one."""

    @abstractmethod
    def expected_log(self) -> Tensor:
        """The expected logarithms of the weights, ``(K,)``."""

    @abstractmethod
    def log_normalizer(self) -> Tensor:
        """What the log density is divided by, shape ``()``."""

    @abstractmethod
    def on_simplex(self, like: Tensor) -> Any:
        """The distribution itself, of weights that sum to one, in the dtype of a tensor."""


@dataclass(frozen=True, eq=False)
class _DirichletWeights(WeightDistribution):
    r"""Weights of :math:`\mathrm{Dirichlet}(\alpha_1, \dots, \alpha_K)`."""

    concentration: Tensor

    @classmethod
    def prior(cls, concentration: float, like: Tensor) -> Self:
        return cls(torch.full_like(like, concentration))

    def updated(self, mass: Tensor) -> Self:
        return type(self)(self.concentration + mass)

    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum()

    def expected_log(self) -> Tensor:
        return self.concentration.digamma() - self.concentration.sum().digamma()

    def log_normalizer(self) -> Tensor:
        return self.concentration.lgamma().sum() - self.concentration.sum().lgamma()

    def on_simplex(self, like: Tensor) -> Dirichlet:
        return Dirichlet(self.concentration.to(like), validate_args=False)


@dataclass(frozen=True, eq=False)
class _StickBreakingWeights(WeightDistribution):
    r"""The first weights of a Dirichlet process, each a share of what those before it left.

    .. math:: \pi_k = v_k \prod_{j < k} (1 - v_j), \qquad v_k \sim \mathrm{Beta}(a_k, b_k)

    The last one leaves something too, in which there are no rows; means are divided by their sum.
    """

    taken: Tensor
    left: Tensor

    @classmethod
    def prior(cls, concentration: float, like: Tensor) -> Self:
        return cls(torch.ones_like(like), torch.full_like(like, concentration))

    def updated(self, mass: Tensor) -> Self:
        beyond = torch.cat([mass[1:].flip(0).cumsum(0).flip(0), torch.zeros_like(mass[:1])])
        return type(self)(self.taken + mass, self.left + beyond)

    def mean(self) -> Tensor:
        share = self.taken / (self.taken + self.left)
        remainder = torch.cat([torch.ones_like(share[:1]), (1 - share[:-1]).cumprod(0)])
        weights = share * remainder
        return weights / weights.sum()

    def expected_log(self) -> Tensor:
        total = (self.taken + self.left).digamma()
        before = (self.left.digamma() - total).cumsum(0)
        before = torch.cat([torch.zeros_like(before[:1]), before[:-1]])
        return self.taken.digamma() - total + before

    def log_normalizer(self) -> Tensor:
        total = (self.taken + self.left).lgamma()
        return (self.taken.lgamma() + self.left.lgamma() - total).sum()

    def on_simplex(self, like: Tensor) -> GeneralizedDirichlet:
        """With the last weight all that is left (Blei and Jordan 2006)."""
        return GeneralizedDirichlet(self.taken[:-1].to(like), self.left[:-1].to(like))


WEIGHT_DISTRIBUTIONS: dict[str, type[WeightDistribution]] = {
    "dirichlet_process": _StickBreakingWeights,
    "dirichlet_distribution": _DirichletWeights,
}
"""By scikit-learn's names of the priors."""
