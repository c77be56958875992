"""A covariance matrix for each component."""

from typing import Self

from torch import Tensor

from ...precision import full_precision
from .matrices import MatrixCovariance
from .moments import FullMoments

__all__ = ["FullCovariance"]


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
    shape_text = "square matrices for each component, shape (..., K, D, D)"
    moments = FullMoments
    natural_from = 10

    def __init__(self, matrices: Tensor, *, validate_args: bool | None = None) -> None:
        super().__init__(matrices, validate_args=validate_args)

    @full_precision
    def natural(self, means: Tensor) -> tuple[Tensor, Tensor]:
        precision = self._precision()
        i, j = FullMoments.indices(means.shape[-1], means.device)
        halves = ((i == j) * 0.5 - 1).to(means.dtype)
        return (precision @ means.unsqueeze(-1)).squeeze(-1), precision[:, i, j] * halves

    @classmethod
    def from_moments(
        cls, moments: Tensor, mass: Tensor, n_features: int, floor: float
    ) -> tuple[Self, Tensor]:
        return cls.regularized(moments / mass[..., None, None], floor)
