"""The covariances of sums of independent vectors."""

from torch import Tensor

from .base import Covariance
from .full import FullCovariance

__all__ = ["with_errors"]


def with_errors(covariance: Covariance, matrices: Tensor, means: Tensor) -> FullCovariance:
    """Adds the errors' covariances, ``(..., D, D)``, to those of components with means."""
    return FullCovariance(
        covariance.dense(*means.shape[-2:]) + matrices.unsqueeze(-3), validate_args=False
    )
