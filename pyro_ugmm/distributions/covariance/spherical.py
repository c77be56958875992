"""A variance for each component."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from .moments import SecondMoments
from .tensors import Argument
from .variances import VarianceCovariance

__all__ = ["SphericalCovariance"]


class SphericalMoments(SecondMoments):
    """The sum of all features' squares, for each component."""

    def n_products(self, n_features: int) -> int:
        return 1

    def n_rows(self, n_features: int) -> int:
        return 1

    def write_products(self, y: Tensor, out: Tensor) -> None:
        torch.sum(y * y, 0, keepdim=True, out=out)

    def unpack(self, products: Tensor, n_features: int) -> Tensor:
        return products[0]

    def sum(self, weighted: Tensor, deviations: Tensor) -> Tensor:
        return (weighted * deviations).sum((-2, -1))

    def outer(self, vectors: Tensor, mass: Tensor) -> Tensor:
        return mass * vectors.square().sum(-1)

    def project(self, matrices: Tensor) -> Tensor:
        return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)


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
    arguments: ClassVar = {
        "variances": Argument(0, "a variance for each component, shape (..., K)")
    }
    moments = SphericalMoments()

    @property
    def n_features(self) -> None:
        return None

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
        return cls(moments / (mass * n_features), validate_args=False).regularized(floor)

    def smallest_variance(self) -> Tensor:
        return self.values
