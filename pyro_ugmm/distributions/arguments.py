"""What the mixtures take: its checks, and its conversion."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import (
    check,
    check_broadcast,
    check_integer,
    check_precision,
    check_same_kind,
    check_values,
)
from ..missing_values import mixture_rule
from ..tables import Table, as_table
from .covariance import Covariance

__all__ = [
    "check_expansion",
    "check_numbers",
    "check_rows",
    "check_shapes",
    "check_weights",
    "checked_condition",
    "checked_dims",
    "given_values",
    "sample_size",
]


def check_shapes(weights: Tensor, means: Tensor, covariance: Covariance) -> None:
    """Checks kinds and shapes of a multivariate mixture's parameters."""
    is_covariance = isinstance(covariance, Covariance)
    check(is_covariance, "covariance", "a Covariance", type(covariance).__name__)
    named = {"weights": weights, "means": means}
    for name, tensor in named.items():
        check_precision(name, tensor)
    check(
        means.dim() > 1 and 0 not in means.shape, "means", "shape (..., K, D)", tuple(means.shape)
    )
    n_components, n_features = means.shape[-2:]
    expected = f"{n_components} components, as means has"
    check(weights.dim() > 0, "weights", "shape (..., K)", tuple(weights.shape))
    check(weights.shape[-1] == n_components, "weights", expected, f"shape {tuple(weights.shape)}")
    for count, got, what in (
        (n_components, covariance.n_components, "components"),
        (n_features, covariance.n_features, "features"),
    ):
        check(got in (None, count), "covariance", f"{count} {what}, as means has", got)
    for tensor in covariance.tensors().values():
        check_same_kind({"means": means, "weights": weights, "covariance": tensor})
    check_broadcast(
        {
            "weights": weights.shape[:-1],
            "means": means.shape[:-2],
            "covariance": covariance.batch_shape,
        }
    )


def check_numbers(weights: Tensor, means: Tensor) -> None:
    """Checks that means are finite, and that weights are weights."""
    check_values("means", means, means.isfinite(), "finite values")
    check_weights(weights)


def check_weights(weights: Tensor) -> None:
    """Checks that weights are not negative, and sum to one."""
    check_values("weights", weights, weights >= 0, "non-negative values")
    total = weights.detach().sum(-1)
    tolerance = 1e-5 if weights.dtype == torch.float64 else 1e-4
    expected = "weights that sum to one (divide them by their sum)"
    check_values("weights", total, (total - 1).abs() <= tolerance, f"{expected}; as sums")


def check_expansion(batch_shape: torch.Size, shape: torch.Size) -> None:
    """Checks that a batch broadcasts to a shape."""
    try:
        expands = torch.broadcast_shapes(batch_shape, shape) == shape
    except RuntimeError:
        expands = False
    expected = f"a shape that {tuple(batch_shape)} expands to"
    check(expands, "batch_shape", expected, tuple(shape))


def check_rows(
    table: Table, n_features: int, batch_shape: torch.Size, like: Tensor, missing: str
) -> None:
    """Checks the shape, kind and values of rows of which a mixture is asked."""
    shape = tuple(table.values.shape)
    expected = f"{n_features} features in the last dimension"
    check(shape[-1:] == (n_features,), "value", expected, f"shape {shape}")
    check_broadcast({"value": shape[:-1], "the batch": batch_shape})
    check_same_kind({"means": like, "value": table.values})
    table.check_finite(mixture_rule(missing))


def checked_dims(name: str, dims: Iterable[int], n_features: int) -> list[int]:
    """Checks that dimensions are distinct ones of a mixture; returns plain numbers."""
    expected = f"distinct dimensions between 0 and {n_features - 1}"
    try:
        numbers = [check_integer(name, dim, minimum=0) for dim in dims]
    except (TypeError, ValueError):
        numbers = []
    valid = all(dim < n_features for dim in numbers)
    check(valid and len(set(numbers)) == len(numbers) > 0, name, expected, dims)
    return numbers


def sample_size(sample_shape: Any) -> torch.Size:
    """Checks that ``sample_shape`` is a shape, of which sizes may be zero."""
    expected = "a tuple of integers of at least 0"
    check(isinstance(sample_shape, Iterable), "sample_shape", expected, repr(sample_shape))
    return torch.Size(check_integer("sample_shape", size, minimum=0) for size in sample_shape)


def given_values(values: Mapping[int, Any], like: Tensor) -> Tensor:
    """Takes values of some dimensions, shape ``(..., n_given)``, without a loss of digits.

    A tensor has to fit the dtype of ``like``; arrays are taken as they are, and Python's numbers
    as in torch's arithmetic, unless that dtype cannot hold them. The result is in the widest.
    """
    taken = {f"values[{dim}]": _taken(f"values[{dim}]", value) for dim, value in values.items()}
    dtype = like.dtype
    for value, tensor in zip(values.values(), taken.values(), strict=True):
        if not isinstance(value, Tensor) and not _is_plain(value, dtype):
            dtype = torch.promote_types(dtype, tensor.dtype)
    for (name, tensor), value in zip(taken.items(), values.values(), strict=True):
        fits = torch.promote_types(tensor.dtype, dtype) == dtype
        check(fits or not isinstance(value, Tensor), name, f"{dtype}, as means has", tensor.dtype)
        here = not isinstance(value, Tensor) or tensor.device == like.device
        check(here, name, f"device {like.device}, where means is", f"device {tensor.device}")
    check_broadcast({name: tensor.shape for name, tensor in taken.items()})
    tensors = [tensor.to(like.device, dtype) for tensor in taken.values()]
    return torch.stack(torch.broadcast_tensors(*tensors), -1)


def _taken(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        check_precision(name, value)
        return value
    return as_table(name, value).values


def _is_plain(value: Any, dtype: torch.dtype) -> bool:
    """Whether a value is one of Python's numbers, and in a dtype's range."""
    is_plain = isinstance(value, int | float) and not isinstance(value, np.generic)
    return is_plain and not abs(value) > torch.finfo(dtype).max


def checked_condition(
    values: Any, like: Tensor, batch_shape: torch.Size
) -> tuple[list[int], list[int], Tensor]:
    """Checks values of some of the dimensions of rows like ``(..., D)``.

    Returns:
        The dimensions that are left, those that are given, and their values, ``(..., n_given)``.
    """
    n_features, expected = like.shape[-1], "a mapping from dimensions to their values"
    check(isinstance(values, Mapping), "values", expected, type(values).__name__)
    given = checked_dims("values", list(values), n_features)
    kept = [dim for dim in range(n_features) if dim not in given]
    check(kept, "values", f"fewer than all {n_features} dimensions", given)
    x = given_values(values, like)
    check_values("values", x, x.isfinite(), "finite values")
    check_broadcast({"values": x.shape[:-1], "the batch": batch_shape})
    return kept, given, x
