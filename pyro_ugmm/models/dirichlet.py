"""A Dirichlet distribution over many weights."""

from functools import cached_property
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import biject_to, constraints, transform_to

__all__ = ["Dirichlet"]


class _RoundedSimplex(type(constraints.simplex)):  # type: ignore[misc]
    """Rows of non-negative numbers that sum to one, up to the rounding of so many.

    torch allows 1e-6, which the bijection to 784 numbers in float32 does not keep.
    """

    def check(self, value: Tensor) -> Tensor:
        """Whether rows are such."""
        most = max(1e-6, value.shape[-1] * torch.finfo(value.dtype).eps)
        return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < most)


for _registry in (biject_to, transform_to):
    _registry.register(_RoundedSimplex, lambda _: biject_to(constraints.simplex))


class Dirichlet(dist.Dirichlet):
    r"""Pyro's, with weights that sum to one up to the rounding of so many.

    .. math:: \log p(w) = \sum_k (\alpha_k - 1) \log w_k + \log \Gamma(\textstyle\sum_k \alpha_k)
        - \sum_k \log \Gamma(\alpha_k)

    The last two terms are evaluated once.
    """

    support: ClassVar[Any] = _RoundedSimplex()

    @cached_property
    def _log_normalizer(self) -> Tensor:
        return self.concentration.sum(-1).lgamma() - self.concentration.lgamma().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density at weights ``(..., K)``."""
        if self._validate_args:
            self._validate_sample(value)
        return torch.xlogy(self.concentration - 1, value).sum(-1) + self._log_normalizer
