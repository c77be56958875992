"""The location and scale of data."""

import torch
from torch import Tensor

from .checks import check, check_floating, check_values

__all__ = ["center_and_spread"]


def center_and_spread(x: Tensor, *, omit_missing: bool = False) -> tuple[Tensor, Tensor]:
    """Returns the mean and standard deviation of each column of ``x``, shape ``(n, K)``.

    A constant column gets a spread of one.

    Args:
        x: the rows.
        omit_missing: whether to leave out NaN, rather than to refuse it.

    Raises:
        ValueError: if there are fewer than two rows, a value is not finite, or all of a column is
            missing.
    """
    check_floating("x", x)
    expected = "shape (n, K) with at least 2 rows"
    check(x.dim() == 2 and x.shape[0] > 1, "x", expected, tuple(x.shape))
    if not omit_missing:
        check_values("x", x, x.isfinite(), "finite values")
        center, spread = x.mean(0), x.std(0)
    else:
        seen = x.isnan().logical_not()
        check_values("x", x, x.isfinite() | ~seen, "finite values, or NaN")
        count = seen.sum(0)
        check_values("x", count, count > 0, "columns of which something is observed")
        center = x.nanmean(0)
        squares = torch.where(seen, x - center, 0.0).square().sum(0)
        spread = (squares / (count - 1).clamp(min=1)).sqrt()
    return center, torch.where(spread > 0, spread, 1)
