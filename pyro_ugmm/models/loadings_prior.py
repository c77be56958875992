"""A prior over the loadings of factors that features share."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from .start_constraint import StartConstraint

__all__ = ["LoadingsPrior"]


class LoadingsPrior(TorchDistribution):
    r"""Independent multivariate t distributions of the rows :math:`u_d` of loadings.

    .. math:: p(u_d) \propto (1 + \lVert u_d \rVert^2)^{-(R + \eta) / 2}

    Loadings are in units of the standard deviation of a feature's noise, so that its communality,
    the share of its variance that it has from the :math:`R` factors, is

    .. math:: h_d^2 = \frac{\lVert u_d \rVert^2}{1 + \lVert u_d \rVert^2}
        \sim \mathrm{Beta}(R / 2, \eta / 2)

    With :math:`\eta = 1` loadings and noise, divided by the feature's standard deviation, are a
    direction that is uniform on the half-sphere in :math:`R + 1` dimensions; a larger one favors
    weak correlations, of which the variance is :math:`R / (R + \eta)^2`. Rotations of the factors
    leave the density as it is.

    Args:
        concentration: :math:`\eta > 0`, the degrees of freedom.
        start: where the bijection from the reals has its zero, shape ``(..., D, R)``: in loadings
            of zero no factor can grow.

    Source: Kotz and Nadarajah (2004), *Multivariate t distributions and their applications*.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models.loadings_prior import LoadingsPrior
        >>> prior = LoadingsPrior(2.0, torch.ones(5, 2))
        >>> squares = prior.sample((4000,)).square().sum(-1)
        >>> abs((squares / (1 + squares)).mean() - 0.5) < 0.02  # a communality is uniform
        tensor(True)
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(
        self, concentration: float, start: Tensor, *, validate_args: bool | None = None
    ) -> None:
        self.concentration, self.start = concentration, start
        shape, rank = start.shape, start.shape[-1]
        half, half_rank = torch.tensor([concentration / 2, rank / 2], dtype=torch.float64)
        constant = (half + half_rank).lgamma() - half.lgamma() - half_rank * math.log(math.pi)
        self._constant = shape[-2] * float(constant)
        zero, one = torch.zeros_like(start), torch.ones_like(start)
        of_numbers = StartConstraint(constraints.real, zero, one, start)
        self._support = constraints.independent(of_numbers, 2)
        super().__init__(shape[:-2], shape[-2:], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=2)
    def support(self) -> constraints.Constraint:
        """The reals, whose bijection starts at ``start``."""
        return self._support

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``."""
        start = self.start.expand(*batch_shape, *self.event_shape)
        return LoadingsPrior(self.concentration, start, validate_args=self._validate_args)

    def element(self, *index: int) -> TorchDistribution:
        """The distribution of one loading, on the CPU."""
        df = self.start.new_tensor(self.concentration).cpu()
        return dist.StudentT(df, torch.zeros_like(df), df.rsqrt())

    def log_prob(self, value: Tensor) -> Tensor:
        """Evaluates the log density, shape of the batch."""
        if self._validate_args:
            self._validate_sample(value)
        power = 0.5 * (self.event_shape[-1] + self.concentration)
        return self._constant - power * value.square().sum(-1).log1p().sum(-1)

    def rsample(self, sample_shape=()) -> Tensor:
        """Draws loadings that carry gradients."""
        shape = self._extended_shape(torch.Size(sample_shape))
        half = self.start.new_full((*shape[:-1], 1), self.concentration / 2)
        z = torch.randn(shape, dtype=half.dtype, device=half.device)
        return z * torch.distributions.Gamma(half, 0.5).sample().rsqrt()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.concentration:g}, shape={tuple(self.start.shape)})"
