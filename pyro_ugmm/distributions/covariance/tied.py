"""One covariance matrix for all components."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from ...precision import full_precision
from .matrices import MatrixCovariance, MatrixMoments
from .moments import SharedMoments
from .tensors import Argument

__all__ = ["TiedCovariance"]


class TiedMoments(SharedMoments, MatrixMoments):
    """One matrix for all components."""

    def unpack(self, products: Tensor, n_features: int) -> Tensor:
        return products.new_zeros(n_features, n_features)

    def shared(self, y: Tensor, responsibilities: Tensor) -> Tensor | None:
        return (y * responsibilities.sum(0)) @ y.T

    def sum(self, weighted: Tensor, deviations: Tensor) -> Tensor:
        return torch.bmm(weighted, deviations.transpose(1, 2)).sum(0)

    def outer(self, vectors: Tensor, mass: Tensor) -> Tensor:
        return (mass.unsqueeze(-1) * vectors).mT @ vectors

    def project(self, matrices: Tensor) -> Tensor:
        return matrices.sum(-3)


class TiedCovariance(MatrixCovariance):
    r"""One covariance matrix :math:`\Sigma` that all components share.

    Args:
        matrix: symmetric positive definite, shape ``(..., D, D)``.
        validate_args: whether to check that it is; by default, as Pyro's distributions do.

    Raises:
        ValueError: if the matrix is not finite, symmetric and positive definite.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import TiedCovariance
        >>> TiedCovariance(torch.eye(2))
        TiedCovariance(matrix: (2, 2))
    """

    name = "tied"
    arguments: ClassVar = {"matrix": Argument(2, "one square matrix, shape (..., D, D)")}
    is_shared = True
    moments = TiedMoments()

    def __init__(self, matrix: Tensor, *, validate_args: bool | None = None) -> None:
        super().__init__(matrix, validate_args=validate_args)

    @full_precision
    def natural(self, means: Tensor) -> tuple[Tensor, Tensor]:
        return means @ self.precisions()[0], means.new_empty(len(means), 0)

    @full_precision
    def common_term(self, y: Tensor) -> Tensor:
        return torch.mm(self.inverse_factor, y).square_().sum(0).mul_(-0.5)

    @classmethod
    def from_moments(
        cls, moments: Tensor, mass: Tensor, n_features: int, floor: float
    ) -> tuple[Self, Tensor]:
        matrix = moments / mass.sum(-1)[..., None, None]
        return cls(matrix, validate_args=False).regularized(floor)
