"""Checks of rows while they are read for the first time."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..checks import check
from ..missing_values import MissingRule
from ..processes import current
from ..tables import Table
from .row_weights import check_some_weight, check_weights

__all__ = ["Inspection", "check_dtype", "check_squares"]


def check_dtype(name: str, dtype: torch.dtype) -> None:
    """Checks that EM can compute in a dtype."""
    check(dtype in (torch.float32, torch.float64), name, "float32 or float64", dtype)


def check_squares(table: Table, missing: MissingRule, first_row: int = 0) -> None:
    """Checks that rows are finite, or missing where that is allowed, and so are their squares."""
    rows = table.values
    if rows.square().sum().isfinite():
        return
    table.check_entries(missing.valid(rows), missing.expected, first_row)
    largest = torch.finfo(rows.dtype).max ** 0.5 / 1e3
    expected = f"values below {largest:.0e}, whose squares {rows.dtype} can hold"
    table.check_entries(~(rows.abs() > largest), expected, first_row)


@dataclass
class Inspection:
    """What is known of the rows that one reading went through so far.

    Attributes:
        name: what the caller calls the rows.
        missing: what NaN among them means.
        observed: whether something has to be observed of each column.
        columns: the names of the columns, of a data frame.
    """

    name: str
    missing: MissingRule
    observed: bool
    columns: tuple[str, ...] | None = None
    _n_rows: int = field(default=0, init=False)
    _weight: float = field(default=0.0, init=False)
    _n_seen: Tensor | None = field(default=None, init=False)

    def add(self, block: Tensor, weight: Tensor | None, like: Tensor) -> None:
        """Checks a block ``(B, D)`` and its weights against the start or first block."""
        self._check_kind(block, like)
        check_squares(Table(self.name, block, self.columns), self.missing, self._n_rows)
        if weight is None:
            self._weight += len(block)
        else:
            self._weight += check_weights(weight, self._n_rows, like.dtype)
        self._count_seen(block, weight)
        self._n_rows += len(block)

    def _check_kind(self, block: Tensor, like: Tensor) -> None:
        check_dtype(self.name, block.dtype)
        expected = f"{like.dtype}, as the start or first block has"
        check(block.dtype == like.dtype, self.name, expected, block.dtype)
        n_features = like.shape[-1]
        expected = f"{n_features} features, as the start or first block has"
        got = f"shape (n, {block.shape[1]})"
        check(block.shape[1] == n_features, self.name, expected, got)
        check(n_features, self.name, "at least one feature", "none")

    def _count_seen(self, block: Tensor, weight: Tensor | None) -> None:
        """In how many rows each column was observed, of those that weigh something."""
        if not self.observed or not self.missing.takes_nan:
            return
        seen = ~block.isnan()
        if weight is not None:
            seen &= (weight > 0).to(block.device).unsqueeze(1)
        self._n_seen = seen.sum(0) + (0 if self._n_seen is None else self._n_seen)

    def conclude(self, like: Tensor | None) -> tuple[Tensor, tuple[str, ...]]:
        """Checks what is known of the rows of all processes once they were read.

        Returns:
            What the rows are like, and the columns, in words, that were observed in one row only.
        """
        kind = None if not self._n_rows or like is None else (like.shape[-1], like.dtype)
        mine = kind, self._weight, None if self._n_seen is None else self._n_seen.cpu()
        kinds, weights, seen = zip(*current().gather("rows", mine), strict=True)
        known = list(dict.fromkeys(kind for kind in kinds if kind is not None))
        check(known, self.name, "at least one row", "none")
        expected = "the same number of features and dtype on all processes"
        check(len(known) == 1, self.name, expected, known)
        if like is None:
            n_features, dtype = known[0]
            like = torch.empty(0, n_features, dtype=dtype, device="cpu")
        total, largest = sum(weights), torch.finfo(like.dtype).max ** 0.5
        check_some_weight(total > 0)
        expected = f"weights whose sum is below {largest:.0e}"
        check(total < largest, "sample_weight", expected, f"{total:.3g}")
        counts = [count for count in seen if count is not None]
        return like, self._seen_once(sum(counts), total) if counts else ()

    def _seen_once(self, n_seen: Tensor, total: float) -> tuple[str, ...]:
        table = Table(self.name, n_seen, self.columns)
        where = "" if self._weight == self._n_rows else ", in rows of positive weight"
        table.check_observed(n_seen > 0, where)
        once = (n_seen == 1).nonzero()[:, 0].tolist() if total > 1 else []
        return tuple(map(table.column, once))
