"""A covariance matrix for each component."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from ...precision import full_precision
from .matrices import MatrixCovariance, MatrixMoments
from .tensors import Argument

__all__ = ["FullCovariance"]


class FullMoments(MatrixMoments):
    r"""A matrix for each component.

    Products are stored by cyclic diagonals: all :math:`y_i y_{(i+s) \bmod D}` for a shift
    :math:`s`, then for the next. Each shift is one contiguous product of the rows with themselves.
    """

    def n_products(self, n_features: int) -> int:
        return n_features * (n_features + 1) // 2

    def n_rows(self, n_features: int) -> int:
        return n_features * (n_features // 2 + 1)

    def write_products(self, y: Tensor, out: Tensor) -> None:
        n_features, n_rows = y.shape
        shape = (n_features // 2 + 1, n_features, n_rows)
        twice = torch.cat([y, y])
        shifted = twice.as_strided(shape, (n_rows, n_rows, 1))
        torch.mul(y, shifted, out=out.view(shape))

    def indices(self, n_features: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The two features of each product."""
        at = torch.arange(self.n_products(n_features), device=device)
        first = at % n_features
        return first, (first + at // n_features) % n_features

    def unpack(self, products: Tensor, n_features: int) -> Tensor:
        i, j = self.indices(n_features, products.device)
        matrices = products.new_empty(products.shape[1], n_features, n_features)
        matrices[:, i, j] = products.T
        matrices[:, j, i] = products.T
        return matrices

    def sum(self, weighted: Tensor, deviations: Tensor) -> Tensor:
        return torch.bmm(weighted, deviations.transpose(1, 2))

    def outer(self, vectors: Tensor, mass: Tensor) -> Tensor:
        return (mass.unsqueeze(-1) * vectors).unsqueeze(-1) * vectors.unsqueeze(-2)

    def project(self, matrices: Tensor) -> Tensor:
        return matrices


class FullCovariance(MatrixCovariance):
    r"""A covariance matrix :math:`\Sigma_k` for each component.

    Args:
        matrices: symmetric positive definite, shape ``(..., K, D, D)``.
        validate_args: whether to check that they are; by default, as Pyro's distributions do.

    Raises:
        ValueError: if a matrix is not finite, symmetric and positive definite.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import FullCovariance
        >>> FullCovariance(torch.eye(2).expand(3, 2, 2))
        FullCovariance(matrices: (3, 2, 2))
    """

    name = "full"
    bounds_distances = True
    arguments: ClassVar = {
        "matrices": Argument(2, "square matrices for each component, shape (..., K, D, D)")
    }
    moments = FullMoments()
    natural_from = 10

    def __init__(self, matrices: Tensor, *, validate_args: bool | None = None) -> None:
        super().__init__(matrices, validate_args=validate_args)

    @full_precision
    def natural(self, means: Tensor) -> tuple[Tensor, Tensor]:
        precision, _ = self.precisions()
        i, j = self.moments.indices(means.shape[-1], means.device)
        halves = ((i == j) * 0.5 - 1).to(means.dtype)
        products = precision.flatten(-2).index_select(-1, i * means.shape[-1] + j)
        return (precision @ means.unsqueeze(-1)).squeeze(-1), products * halves

    @classmethod
    def from_moments(
        cls, moments: Tensor, mass: Tensor, n_features: int, floor: float
    ) -> tuple[Self, Tensor]:
        return cls(moments / mass[..., None, None], validate_args=False).regularized(floor)
