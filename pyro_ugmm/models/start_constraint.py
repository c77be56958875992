"""A support, scaled, from whose reals zero is mapped to a chosen start."""

import math

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints, transform_to
from torch.distributions.transforms import AffineTransform, ComposeTransform, Transform

__all__ = ["StartConstraint"]

_FURTHEST_IN_INTERVAL = 7.0  # as a logit: a thousandth of the interval


class _ExpTransform(Transform):
    r"""Maps the reals to positive numbers, zero to a chosen one: :math:`\exp(u + \log v_0)`."""

    bijective = True
    sign = 1
    domain = constraints.real
    codomain = constraints.positive

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.log_start = start.log()

    def with_cache(self, cache_size: int = 1) -> "_ExpTransform":
        return self

    def _call(self, x: Tensor) -> Tensor:
        return (x + self.log_start).exp()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log() - self.log_start

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x + self.log_start


class StartConstraint(constraints.Constraint):
    """A support, scaled, whose bijection to the reals takes zero to a chosen start."""

    def __init__(
        self,
        support: constraints.Constraint,
        center: Tensor,
        spread: Tensor,
        start: Tensor,
    ) -> None:
        self.support, self.center, self.spread = support, center, spread
        self.bijection = self._bijection(start)

    def _bijection(self, start: Tensor) -> Transform:
        to_support, start = biject_to(self.support), self.inside(start)
        if self.support is constraints.real:
            return AffineTransform(start, self.spread)
        is_positive = self.support in (constraints.positive, constraints.nonnegative)
        if is_positive and not self.center.any():
            return _ExpTransform(start)
        origin = to_support.inv((start - self.center) / self.spread)
        scaling = AffineTransform(self.center, self.spread)
        return ComposeTransform([AffineTransform(origin, 1.0), to_support, scaling])

    def inside(self, value: Tensor) -> Tensor:
        """Returns the value where it is off the support's edge, and the support's middle elsewhere.

        On an edge, or next to one, the bijection to the reals has no slope: nothing would move.
        """
        to_support = biject_to(self.support)
        unconstrained = to_support.inv((value - self.center) / self.spread)
        is_interval = hasattr(self.support, "lower_bound") and hasattr(self.support, "upper_bound")
        furthest = _FURTHEST_IN_INTERVAL if is_interval else math.inf
        valid = self.check(value) & (unconstrained.abs() < furthest)
        middle = self.center + self.spread * to_support(torch.zeros_like(value))
        return torch.where(valid, value, middle)

    def check(self, value: Tensor) -> Tensor:
        """Says of each value whether it is within the support."""
        return self.support.check((value - self.center) / self.spread)

    def __repr__(self) -> str:
        return repr(self.support)


biject_to.register(StartConstraint, lambda constraint: constraint.bijection)
transform_to.register(StartConstraint, lambda constraint: constraint.bijection)
