"""A variance for each component and feature."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from .moments import SecondMoments
from .tensors import Argument
from .variances import VarianceCovariance

__all__ = ["DiagonalCovariance"]


class DiagonalMoments(SecondMoments):
    """A square for each component and feature."""

    def n_products(self, n_features: int) -> int:
        return n_features

    def write_products(self, y: Tensor, out: Tensor) -> None:
        torch.mul(y, y, out=out)

    def unpack(self, products: Tensor, n_features: int) -> Tensor:
        return products.T

    def sum(self, weighted: Tensor, deviations: Tensor) -> Tensor:
        return (weighted * deviations).sum(-1)

    def outer(self, vectors: Tensor, mass: Tensor) -> Tensor:
        return mass.unsqueeze(-1) * vectors.square()

    def project(self, matrices: Tensor) -> Tensor:
        return matrices.diagonal(dim1=-2, dim2=-1)


class DiagonalCovariance(VarianceCovariance):
    r"""Diagonal covariances :math:`\mathrm{diag}(\sigma_{k1}^2, \dots, \sigma_{kD}^2)`.

    Args:
        variances: positive, shape ``(..., K, D)``.
        validate_args: whether to check that they are; by default, as Pyro's distributions do.

    Raises:
        ValueError: if a variance is not finite and positive.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import DiagonalCovariance
        >>> DiagonalCovariance(torch.ones(3, 2))
        DiagonalCovariance(variances: (3, 2))
    """

    name = "diagonal"
    arguments: ClassVar = {
        "variances": Argument(1, "a variance for each component and feature, shape (..., K, D)")
    }
    moments = DiagonalMoments()

    @property
    def n_features(self) -> int:
        return self.values.shape[-1]

    def _by_feature(self, tensor: Tensor, n_features: int) -> Tensor:
        return tensor

    def n_parameters(self, n_components: int, n_features: int) -> int:
        return n_components * n_features

    def marginal(self, dims: Tensor) -> Self:
        return type(self)(self.values[..., dims], validate_args=False)

    def natural(self, means: Tensor) -> tuple[Tensor, Tensor]:
        precision = self.values.reciprocal()
        return means * precision, -0.5 * precision

    def canceling(self, means: Tensor) -> Tensor:
        return (1 + means.square() / self.values).sum(-1)

    def whitener(self, n_components: int) -> Tensor:
        return self.values.rsqrt().unsqueeze(-1)

    @classmethod
    def from_moments(
        cls, moments: Tensor, mass: Tensor, n_features: int, floor: float
    ) -> tuple[Self, Tensor]:
        return cls(moments / mass.unsqueeze(-1), validate_args=False).regularized(floor)

    def smallest_variance(self) -> Tensor:
        return self.values.amin(-1)
