"""Rows that a layer or network is initialized for."""

from typing import Any

from torch import Tensor

from ..checks import check
from ..missing_values import network_rule
from ..tables import Table, as_table

__all__ = ["as_rows"]


def as_rows(x: Any, like: Tensor, missing: str, whose: str) -> Table:
    """Takes rows ``(n, K)`` of any kind, finite, or NaN where inputs may be missing.

    Args:
        x: the rows.
        like: one row of the dtype, device and length expected.
        missing: what a NaN means.
        whose: the rows are.

    Raises:
        ValueError: if they do not fit, or are fewer than two.
    """
    rows, rule = as_table("x", x).like(whose, like), network_rule(missing)
    shape = tuple(rows.values.shape)
    fits = len(shape) == 2 and shape[0] > 1 and shape[1:] == like.shape
    check(fits, "x", f"shape (n, {len(like)}) with at least 2 rows", shape)
    if rule.takes_nan:
        rows.check_observed()
    rows.check_finite(rule)
    return rows
