"""The covariances of sums of independent vectors."""

from torch import Tensor

from .base import Covariance
from .diagonal import DiagonalCovariance
from .full import FullCovariance
from .variances import VarianceCovariance

__all__ = ["with_errors"]


def with_errors(
    covariance: Covariance, errors: Tensor, means: Tensor, *, are_variances: bool
) -> Covariance:
    """Adds the covariances of errors to those of components with means ``(..., K, D)``.

    Args:
        covariance: of the components.
        errors: covariances ``(..., D, D)``, or variances ``(..., D)``.
        means: of the components.
        are_variances: which of these they are.
    """
    matrices, errors = (
        covariance.dense(*means.shape[-2:]),
        errors.unsqueeze(-2 - (not are_variances)),
    )
    if are_variances and isinstance(covariance, VarianceCovariance):
        variances = matrices.diagonal(dim1=-2, dim2=-1) + errors
        return DiagonalCovariance(variances, validate_args=False)
    matrices = matrices + (errors.diag_embed() if are_variances else errors)
    return FullCovariance(matrices, validate_args=False)
