"""The location and scale of data."""

import math
from typing import Any

import torch
from torch import Tensor

from .checks import check, check_values
from .tables import as_table

__all__ = ["center_and_spread"]

# Squares of numbers smaller than this, in roots of the least normal number, lose digits.
_LEAST_SPREAD = 1e4


def center_and_spread(x: Any, *, omit_missing: bool = False) -> tuple[Tensor, Tensor]:
    """Returns the mean and standard deviation of each column of ``x``, shape ``(n, K)``.

    A constant column gets a spread of one; its standard deviation need not come out as zero. No
    square overflows or underflows, as long as the result does not.

    Args:
        x: the rows, in a tensor, an array or a data frame.
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
    table = as_table("x", x)
    x = table.values
    expected = "shape (n, K) with at least 2 rows"
    check(x.dim() == 2 and x.shape[0] > 1, "x", expected, tuple(x.shape))
    seen = None
    if omit_missing:
        seen = x.isnan().logical_not()
        table.check_entries(x.isfinite() | ~seen, "finite values, or NaN")
        count = seen.sum(0)
        check_values("x", count, count > 0, "columns of which something is observed")
    else:
        table.check_entries(x.isfinite(), "finite values")
    lowest, highest = _extremes(x, seen)
    center, spread = _moments(x, seen)
    fits = center.isfinite() & (lowest == highest)
    fits |= spread.isfinite() & (spread > _LEAST_SPREAD * torch.finfo(x.dtype).tiny ** 0.5)
    if not x.is_meta and not torch._is_all_true(fits):  # which vmap knows
        unit = torch.maximum(lowest.abs(), highest.abs())
        unit = torch.where(fits, 1, unit)
        center, spread = (unit * moment for moment in _moments(x / unit, seen))
    return center, torch.where((spread > 0) & (lowest < highest), spread, 1)


def _extremes(x: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor]:
    """The lowest and the highest value of each column, of what is seen, or of all."""
    if seen is None:
        lowest, highest = x.aminmax(dim=0)
        return lowest, highest
    return torch.where(seen, x, math.inf).amin(0), torch.where(seen, x, -math.inf).amax(0)


def _moments(x: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor]:
    """The mean and standard deviation of each column, of what is seen, or of all."""
    if seen is None:
        return x.mean(0), x.std(0)
    center = x.nanmean(0)
    squares = torch.where(seen, x - center, 0.0).square().sum(0)
    return center, (squares / (seen.sum(0) - 1).clamp(min=1)).sqrt()
