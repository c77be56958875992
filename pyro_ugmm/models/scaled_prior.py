"""A prior stated in standard units, placed at the units of its inputs and given a start."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from .rescaled import rescaled
from .start_constraint import StartConstraint

__all__ = ["ScaledPrior"]


class ScaledPrior(TorchDistribution):
    r"""The distribution of :math:`c + s z` where :math:`z` follows a base distribution.

    .. math:: \log p(v) = \log p_z\bigl((v - c) / s\bigr) - \log s

    Pyro's autoguides start at zero in the unconstrained space of a site's support, whatever its
    prior; at zero all neurons of a network are alike, and stay so. Here the bijection from the
    reals to the support sends zero to ``start``, so that a plain autoguide starts there.

    The arguments are named as Pyro's ``LocScaleReparam`` knows them: with other values of ``loc``
    and ``scale`` they make the affine image that it asks for, which starts at the same :math:`z`.

    Args:
        standard: the distribution of :math:`z`; its batch shape broadcasts to that of ``loc``.
        loc, scale: :math:`c` and :math:`s > 0`; they set the shape, dtype and device.
        origin: the :math:`z` to which zero is mapped, if it lies within the support.
    """

    arg_constraints = dict.fromkeys(("standard", "loc", "scale", "origin"), constraints.dependent)

    def __init__(
        self,
        standard: Any,
        loc: Tensor,
        scale: Tensor,
        origin: Tensor,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.standard = standard
        self._support: StartConstraint | None = None
        self._density = rescaled(standard, loc, scale)
        self._units = loc, scale  # as few numbers as were given
        self.loc, self.scale, self.origin = torch.broadcast_tensors(loc, scale, origin)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:
        """Whether draws carry gradients, as the base's do."""
        return self.standard.has_rsample

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The base's support, scaled; its bijection starts at ``start``."""
        if self._support is None:
            self._support = StartConstraint(self.standard.support, *self._units, self.start)
        return self._support

    @property
    def start(self) -> Tensor:
        """The value to which zero is mapped, shape ``batch_shape``."""
        return self.loc + self.scale * self.origin

    def inside(self, value: Tensor) -> Tensor:
        """Returns the value where it is strictly within the support, and a middle one elsewhere."""
        return self.support.inside(value)

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``."""
        new = self._get_checked_instance(ScaledPrior, _instance)
        new.standard, new._support = self.standard, None
        new._density, new._units = self._density, self._units
        for name in ("loc", "scale", "origin"):
            setattr(new, name, getattr(self, name).expand(batch_shape))
        super(ScaledPrior, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def element(self, *index: int) -> "ScaledPrior":
        """The distribution of one element of the batch, on the CPU."""
        loc, scale, origin = (
            tensor[index].detach().cpu() for tensor in (self.loc, self.scale, self.origin)
        )
        return ScaledPrior(self.standard, loc, scale, origin)

    def log_prob(self, value: Tensor) -> Tensor:
        """Evaluates the log density, element by element."""
        if self._validate_args:
            self._validate_sample(value)
        density, batch = self._density.log_prob(value), self.batch_shape
        whole = density.shape[density.dim() - len(batch) :] == batch
        return density if whole else density.expand(torch.broadcast_shapes(density.shape, batch))

    def rsample(self, sample_shape=()) -> Tensor:
        """Draws values that carry gradients."""
        z = self.standard.expand(self.batch_shape).rsample(torch.Size(sample_shape))
        return self.loc + self.scale * z.to(self.loc)

    def sample(self, sample_shape=()) -> Tensor:
        """Draws values."""
        with torch.no_grad():
            z = self.standard.expand(self.batch_shape).sample(torch.Size(sample_shape))
            return self.loc + self.scale * z.to(self.loc)

    @property
    def mean(self) -> Tensor:
        """The mean, shape ``batch_shape``."""
        return self.loc + self.scale * self.standard.mean.to(self.loc)

    @property
    def variance(self) -> Tensor:
        """The variance, shape ``batch_shape``."""
        return self.scale**2 * self.standard.variance.to(self.loc)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.standard}, batch_shape={tuple(self.batch_shape)})"
