"""The location and scale of data."""

import math

import torch
from torch import Tensor

from .checks import check, check_floating, check_values

__all__ = ["center_and_spread"]


def center_and_spread(x: Tensor, *, omit_missing: bool = False) -> tuple[Tensor, Tensor]:
    """Returns the mean and standard deviation of each column of ``x``, shape ``(n, K)``.

    A constant column gets a spread of one; its standard deviation need not come out as zero.

    Args:
        x: the rows.
        omit_missing: whether to leave out NaN, rather than to refuse it.

    Raises:
        ValueError: if there are fewer than two rows, a value is not finite, or all of a column is
            missing.

    Example:
        >>> import torch
        >>> from pyro_ugmm.standardization import center_and_spread
        >>> center_and_spread(torch.tensor([[0.0, 5.0], [2.0, 5.0], [4.0, 5.0]]))
        (tensor([2., 5.]), tensor([2., 1.]))
    """
    check_floating("x", x)
    expected = "shape (n, K) with at least 2 rows"
    check(x.dim() == 2 and x.shape[0] > 1, "x", expected, tuple(x.shape))
    if not omit_missing:
        check_values("x", x, x.isfinite(), "finite values")
        center, spread = x.mean(0), x.std(0)
        lowest, highest = x.aminmax(dim=0)
    else:
        seen = x.isnan().logical_not()
        check_values("x", x, x.isfinite() | ~seen, "finite values, or NaN")
        count = seen.sum(0)
        check_values("x", count, count > 0, "columns of which something is observed")
        center = x.nanmean(0)
        squares = torch.where(seen, x - center, 0.0).square().sum(0)
        spread = (squares / (count - 1).clamp(min=1)).sqrt()
        lowest = torch.where(seen, x, math.inf).amin(0)
        highest = torch.where(seen, x, -math.inf).amax(0)
    return center, torch.where((spread > 0) & (lowest < highest), spread, 1)
