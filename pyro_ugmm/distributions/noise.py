"""Errors of measurement, of which each row has its own."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_values
from ..tables import as_vector

__all__ = ["as_matrices", "checked_noise", "noise_matrices"]

_MOST_NEGATIVE = 1e-6


def checked_noise(noise: Any, shape: Sequence[int]) -> Tensor:
    """Takes variances, in the shape of the rows, or covariances, with a dimension more.

    Raises:
        ValueError: if they have another shape, or are not finite and positive semi-definite.
    """
    shape = tuple(shape)
    values = noise.detach() if isinstance(noise, Tensor) else as_vector("noise", noise)
    expected = f"variances of shape {shape}, or covariances of shape {(*shape, shape[-1])}"
    got = tuple(values.shape)
    check(got in (shape, (*shape, shape[-1])), "noise", expected, f"shape {got}")
    check(not values.is_complex(), "noise", "real numbers", values.dtype)
    values = values if values.is_floating_point() else values.double()
    check_values("noise", values, values.isfinite(), "finite values")
    if got == shape:
        check_values("noise", values, values >= 0, "non-negative variances")
        return values
    scale = values.diagonal(dim1=-2, dim2=-1).clamp(min=0).amax(-1)
    allowed = _MOST_NEGATIVE * scale
    gap = (values - values.mT).abs().amax((-2, -1))
    check_values("noise", gap, gap <= allowed, "symmetric covariances, no entries apart")
    smallest = torch.linalg.eigvalsh(values)[..., 0]
    expected = "positive semi-definite covariances, no eigenvalue"
    check_values("noise", smallest, smallest >= -allowed, expected)
    return values


def noise_matrices(noise: Any, n_features: int) -> Tensor:
    """Takes covariances ``(..., D, D)``, or variances ``(..., D)``; returns covariances.

    Raises:
        ValueError: as :func:`checked_noise` does.
    """
    values = noise if isinstance(noise, Tensor) else as_vector("noise", noise)
    shape, square = tuple(values.shape), (n_features, n_features)
    is_matrix = shape[-2:] == square
    expected = f"shape (..., {n_features}) or (..., {n_features}, {n_features})"
    check(shape[-1:] == square[-1:], "noise", expected, f"shape {shape}")
    values = checked_noise(values, shape[:-1] if is_matrix else shape)
    return values if is_matrix else values.diag_embed()


def as_matrices(noise: Tensor, n_dims: int) -> Tensor:
    """The covariances of rows that have so many dimensions, if these are not variances."""
    return noise.diag_embed() if noise.dim() == n_dims else noise
