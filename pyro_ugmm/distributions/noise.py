"""Errors of measurement, of which each row has its own."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_values
from ..tables import as_vector

__all__ = ["as_matrices", "checked_noise", "noise_of_any_batch"]

_MOST_NEGATIVE = 1e-6


def checked_noise(noise: Any, shape: Sequence[int], like: Tensor, name: str = "noise") -> Tensor:
    """Takes variances, in the shape of the rows, or covariances, with a dimension more, in the
    dtype of a tensor and on its device.

    Raises:
        ValueError: if they have another shape, or are not finite and positive semi-definite.
    """
    given = noise if isinstance(noise, Tensor) else as_vector(name, noise)
    check_noise(given.detach(), tuple(shape), name)
    taken = given.to(like)
    check_values(name, given.detach(), taken.isfinite(), f"values that {like.dtype} can hold")
    return taken


def check_noise(values: Tensor, shape: tuple[int, ...], name: str) -> None:
    """Checks variances of a shape, or covariances with a dimension more."""
    expected = f"variances of shape {shape}, or covariances of shape {(*shape, shape[-1])}"
    got = tuple(values.shape)
    check(got in (shape, (*shape, shape[-1])), name, expected, f"shape {got}")
    check(not values.is_complex(), name, "real numbers", values.dtype)
    values = values if values.is_floating_point() else values.double()
    check_values(name, values, values.isfinite(), "finite values")
    if got == shape:
        check_values(name, values, values >= 0, "non-negative variances")
        return
    scale = values.diagonal(dim1=-2, dim2=-1).clamp(min=0).amax(-1)
    allowed = _MOST_NEGATIVE * scale
    gap = (values - values.mT).abs().amax((-2, -1))
    check_values(name, gap, gap <= allowed, "symmetric covariances, no entries apart")
    smallest = torch.linalg.eigvalsh(values)[..., 0]
    expected = "positive semi-definite covariances, no eigenvalue"
    check_values(name, smallest, smallest >= -allowed, expected)


def noise_of_any_batch(noise: Any, like: Tensor) -> tuple[Tensor, bool]:
    """Takes covariances ``(..., D, D)``, or variances ``(..., D)``, in the dtype of means
    ``(..., D)`` and on their device; also returns whether they are variances.

    Raises:
        ValueError: as :func:`checked_noise` does.
    """
    values = noise if isinstance(noise, Tensor) else as_vector("noise", noise)
    n_features = like.shape[-1]
    shape, square = tuple(values.shape), (n_features, n_features)
    is_matrix = shape[-2:] == square
    expected = f"shape (..., {n_features}) or (..., {n_features}, {n_features})"
    check(shape[-1:] == square[-1:], "noise", expected, f"shape {shape}")
    values = checked_noise(values, shape[:-1] if is_matrix else shape, like)
    return values, not is_matrix


def as_matrices(noise: Tensor, n_dims: int) -> Tensor:
    """The covariances of rows that have so many dimensions, if these are not variances."""
    return noise.diag_embed() if noise.dim() == n_dims else noise
