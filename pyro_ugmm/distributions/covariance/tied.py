"""One covariance matrix for all components."""

from typing import Self

import torch
from torch import Tensor

from ...precision import full_precision
from .matrices import MatrixCovariance
from .moments import TiedMoments

__all__ = ["TiedCovariance"]


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
    argument = "matrix"
    shape_text = "one square matrix, shape (..., D, D)"
    per_component = False
    moments = TiedMoments

    def __init__(self, matrix: Tensor, *, validate_args: bool | None = None) -> None:
        super().__init__(matrix, validate_args=validate_args)

    @full_precision
    def natural(self, means: Tensor) -> tuple[Tensor, Tensor]:
        return means @ self._precision()[0], means.new_empty(len(means), 0)

    @full_precision
    def common_term(self, y: Tensor) -> Tensor:
        return torch.mm(self.inverse_factor, y).square_().sum(0).mul_(-0.5)

    @classmethod
    def from_moments(
        cls, moments: Tensor, mass: Tensor, n_features: int, floor: float
    ) -> tuple[Self, Tensor]:
        covariance, raised = cls.regularized(moments / mass.sum(-1)[..., None, None], floor)
        return covariance, raised.unsqueeze(-1).expand(mass.shape)
