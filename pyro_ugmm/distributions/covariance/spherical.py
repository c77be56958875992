"""A variance for each component."""

from typing import Self

from torch import Tensor

from .moments import SphericalMoments
from .variances import VarianceCovariance

__all__ = ["SphericalCovariance"]


class SphericalCovariance(VarianceCovariance):
    r"""Spherical covariances :math:`\sigma_k^2 I`.

    Args:
        variances: positive, shape ``(..., K)``.
        validate_args: whether to check that they are; by default, as Pyro's distributions do.

    Raises:
        ValueError: if a variance is not finite and positive.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import SphericalCovariance
        >>> SphericalCovariance(torch.ones(3))
        SphericalCovariance(variances: (3,))
    """

    name = "spherical"
    shape_text = "a variance for each component, shape (..., K)"
    values_dim = 0
    moments = SphericalMoments

    def _by_feature(self, tensor: Tensor, n_features: int) -> Tensor:
        return tensor.unsqueeze(-1).expand(*tensor.shape, n_features)

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_components

    def marginal(self, dims: Tensor) -> Self:
        return self

    def natural(self, means: Tensor) -> tuple[Tensor, Tensor]:
        precision = self.values.reciprocal().unsqueeze(-1)
        return means * precision, -0.5 * precision

    def canceling(self, means: Tensor) -> Tensor:
        return means.shape[-1] + means.square().sum(-1) / self.values

    def whitener(self, n_components: int) -> Tensor:
        return self.values.rsqrt()[:, None, None]

    @classmethod
    def from_moments(
        cls, moments: Tensor, mass: Tensor, n_features: int, floor: float
    ) -> tuple[Self, Tensor]:
        return cls.regularized(moments / (mass * n_features), floor)

    def smallest_variance(self) -> Tensor:
        return self.values
