"""The weights of rows: checked, and scaled to a mean of one."""

from typing import Any

import torch
from torch import Tensor

from ..accumulation import double
from ..checks import check
from ..processes import all_reduce
from ..tables import as_vector

__all__ = ["as_weights", "check_some_weight", "check_weights", "mean_weight"]


def check_some_weight(condition: Any) -> None:
    """Raises the error of rows without any weight unless ``condition`` holds."""
    check(condition, "sample_weight", "at least one positive weight", "none but zeros")


def as_weights(weight: Any, n_rows: int) -> Tensor:
    """Takes the weights of so many rows, in whatever holds them."""
    weight = as_vector("sample_weight", weight)
    shape = tuple(weight.shape)
    check(shape == (n_rows,), "sample_weight", f"shape ({n_rows},), as x has rows", shape)
    return weight


def check_weights(weight: Tensor, start: int, dtype: torch.dtype | None = None) -> float:
    """Checks the weights of rows from ``start`` on, and returns their sum.

    Those of a stream have to be in the range of a dtype, as nobody knows their mean beforehand.
    """
    valid, expected = weight.isfinite() & (weight >= 0), "finite non-negative weights"
    if dtype is not None and weight.dtype == torch.float64 != dtype:
        narrow = weight.to(dtype)
        valid = valid & narrow.isfinite() & ((narrow > 0) == (weight > 0))
        expected += f" that {dtype} can hold"
    if not valid.all():
        at = int((~valid).nonzero()[0])
        raise ValueError(
            f"sample_weight: expected {expected}, got {weight[at].item()} in row {start + at}"
        )
    return double(weight).sum().item()


def mean_weight(weight: Tensor | None, has_rows: bool, device: torch.device) -> float | None:
    """The mean of the weights on all processes; ``None`` where some process's rows have none.

    Args:
        weight: of this process's rows, if they have weights of their own.
        has_rows: whether this process has rows, or may have.
        device: where processes can add up.
    """
    counted = [0.0, 0.0, float(has_rows)]
    if weight is not None:
        counted = [double(weight).sum().item(), float(len(weight)), 0.0]
    (sums,) = all_reduce([torch.tensor(counted, dtype=torch.float64, device=device)])
    total, count, n_without = sums.tolist()
    check_some_weight(total > 0 or n_without or not count)
    return None if n_without or not count else total / count
