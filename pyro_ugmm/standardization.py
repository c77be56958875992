"""The location and scale of data."""

import torch
from torch import Tensor

from .checks import check, check_floating, check_values

__all__ = ["center_and_spread"]


def center_and_spread(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean and standard deviation of each column of ``x``, shape ``(n, K)``.

    A constant column gets a spread of one.

    Raises:
        ValueError: if there are fewer than two rows, or a value is not finite.
    """
    check_floating("x", x)
    expected = "shape (n, K) with at least 2 rows"
    check(x.dim() == 2 and x.shape[0] > 1, "x", expected, tuple(x.shape))
    check_values("x", x, x.isfinite(), "finite values")
    spread = x.std(0)
    return x.mean(0), torch.where(spread > 0, spread, 1)
