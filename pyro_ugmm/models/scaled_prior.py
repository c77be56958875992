"""A prior stated in standard units, placed at the units of its inputs and given a start."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import biject_to, constraints, transform_to
from torch.distributions.transforms import Transform

__all__ = ["ScaledPrior"]


class _StartTransform(Transform):
    r"""Maps the reals to a support, zero to a chosen start: :math:`c + s \, T(u + o)`."""

    bijective = True
    domain = constraints.real

    def __init__(
        self, base: Transform, origin: Tensor, center: Tensor, spread: Tensor, codomain: Any
    ) -> None:
        super().__init__()
        self.base, self.origin, self.center, self.spread = base, origin, center, spread
        self.codomain = codomain
        self.log_spread = spread.log()

    def with_cache(self, cache_size: int = 1) -> "_StartTransform":
        return self

    def _call(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.center, self.spread, self.base(x + self.origin))

    def _inverse(self, y: Tensor) -> Tensor:
        return self.base.inv((y - self.center) / self.spread) - self.origin

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        z = (y - self.center) / self.spread
        return self.base.log_abs_det_jacobian(x + self.origin, z) + self.log_spread


class _StartConstraint(constraints.Constraint):
    """A support whose bijection to the reals has a chosen origin."""

    def __init__(
        self,
        support: constraints.Constraint,
        center: Tensor,
        spread: Tensor,
        start: Tensor,
    ) -> None:
        self.support, self.center, self.spread = support, center, spread
        to_support = biject_to(support)
        start = (start - center) / spread
        inside = support.check(start)
        feasible = to_support(torch.zeros_like(start))
        origin = torch.where(inside, to_support.inv(torch.where(inside, start, feasible)), 0)
        self.bijection = _StartTransform(to_support, origin, center, spread, self)

    def check(self, value: Tensor) -> Tensor:
        return self.support.check((value - self.center) / self.spread)


biject_to.register(_StartConstraint, lambda constraint: constraint.bijection)
transform_to.register(_StartConstraint, lambda constraint: constraint.bijection)


class ScaledPrior(TorchDistribution):
    r"""The distribution of :math:`c + s z` where :math:`z` follows a base distribution.

    .. math:: \log p(v) = \log p_z\bigl((v - c) / s\bigr) - \log s

    Pyro's autoguides start at zero in the unconstrained space of a site's support, whatever its
    prior; at zero all neurons of a network are alike, and stay so. Here the bijection from the
    reals to the support sends zero to ``start``, so that a plain autoguide starts there.

    Args:
        base_dist: the distribution of :math:`z`; its batch shape broadcasts to that of ``center``.
        center, spread: :math:`c` and :math:`s > 0`; they set the shape, dtype and device.
        start: the value to which zero is mapped, if it lies in the support.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(
        self,
        base_dist: Any,
        center: Tensor,
        spread: Tensor,
        start: Tensor,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.base_dist = base_dist
        self._support: _StartConstraint | None = None
        self._log_spread = spread.log()
        self.center, self.spread, self.start = torch.broadcast_tensors(center, spread, start)
        super().__init__(self.center.shape, validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:
        """Whether draws carry gradients, as the base's do."""
        return self.base_dist.has_rsample

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The base's support, scaled; its bijection starts at ``start``."""
        if self._support is None:
            parts = (self.center, self.spread, self.start)
            self._support = _StartConstraint(self.base_dist.support, *parts)
        return self._support

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``."""
        new = self._get_checked_instance(ScaledPrior, _instance)
        new.base_dist, new._support, new._log_spread = self.base_dist, None, self._log_spread
        for name in ("center", "spread", "start"):
            setattr(new, name, getattr(self, name).expand(batch_shape))
        super(ScaledPrior, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def element(self, *index: int) -> "ScaledPrior":
        """The distribution of one element of the batch, on the CPU."""
        center, spread, start = (
            tensor[index].detach().cpu() for tensor in (self.center, self.spread, self.start)
        )
        return ScaledPrior(self.base_dist, center, spread, start)

    def log_prob(self, value: Tensor) -> Tensor:
        """Evaluates the log density, element by element."""
        if self._validate_args:
            self._validate_sample(value)
        return self.base_dist.log_prob((value - self.center) / self.spread) - self._log_spread

    def rsample(self, sample_shape=()) -> Tensor:
        """Draws values that carry gradients."""
        z = self.base_dist.expand(self.batch_shape).rsample(torch.Size(sample_shape))
        return self.center + self.spread * z.to(self.center)

    def sample(self, sample_shape=()) -> Tensor:
        """Draws values."""
        with torch.no_grad():
            z = self.base_dist.expand(self.batch_shape).sample(torch.Size(sample_shape))
            return self.center + self.spread * z.to(self.center)

    @property
    def mean(self) -> Tensor:
        """The mean, shape ``batch_shape``."""
        return self.center + self.spread * self.base_dist.mean.to(self.center)

    @property
    def variance(self) -> Tensor:
        """The variance, shape ``batch_shape``."""
        return self.spread**2 * self.base_dist.variance.to(self.center)
