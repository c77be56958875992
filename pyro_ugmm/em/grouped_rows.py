"""Rows in groups, one group after the other."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from ..checks import check, check_precision, check_values
from ..missing_values import ALL_OBSERVED
from ..tables import as_labels, as_table
from .inspection import check_squares
from .row_weights import as_weights, check_some_weight, check_weights

__all__ = ["GroupedRows"]

_LEAST_MOST = 1_000_000  # groups, of however few rows


@dataclass(frozen=True, eq=False)
class GroupedRows:
    """Rows sorted by group, in double precision.

    Attributes:
        x: ``(n, D)``.
        weight: of each, ``(n,)``.
        offset: where each group begins, int64, ``(G,)``.
        n_rows: how many each has, int64, ``(G,)``.
        dtype: in which the rows came.
    """

    x: Tensor
    weight: Tensor
    offset: Tensor
    n_rows: Tensor
    dtype: torch.dtype

    @classmethod
    def of(cls, x: Any, groups: Any, sample_weight: Any) -> Self:
        """Takes rows with a code for each, or without codes a table for each group.

        Raises:
            ValueError: if rows are not finite or differ in the number of features, or codes are
                not integers from zero.
        """
        if groups is None:
            x, groups = _joined(x)
        table = as_table("x", x)
        check_precision("x", table.values)
        shape = tuple(table.values.shape)
        expected = "rows of shape (n, D), with at least one row and feature"
        check(len(shape) == 2 and 0 not in shape, "x", expected, f"shape {shape}")
        values = table.values.detach()
        check_squares(replace(table, values=values), ALL_OBSERVED)
        codes = _codes(groups, len(values)).to(values.device)
        count = int(codes.max()) + 1
        expected = "codes most of which have rows (pandas.factorize makes them)"
        check(count <= max(_LEAST_MOST, 100 * len(codes)), "groups", expected, f"{count - 1}")
        weight = values.new_ones(len(values), dtype=torch.float64)
        if sample_weight is not None:
            weight = as_weights(sample_weight, len(values)).to(weight)
            check_weights(weight, 0)
        if not (weight > 0).all():
            check_some_weight(weight.any())
            codes, values, weight = (part[weight > 0] for part in (codes, values, weight))
        order, n_rows = codes.argsort(stable=True), codes.bincount(minlength=count)
        rows = values.double()[order].contiguous()
        return cls(rows, weight[order], n_rows.cumsum(0) - n_rows, n_rows, values.dtype)

    def __len__(self) -> int:
        return len(self.n_rows)

    def some(self, at: Tensor) -> Self:
        """Some of the groups, in ascending order."""
        first, last = int(self.offset[at[0]]), int(self.offset[at[-1]] + self.n_rows[at[-1]])
        if last - first == int(self.n_rows[at].sum()):  # none that has rows is left out
            x, weight, offset = self.x[first:last], self.weight[first:last], self.offset[at] - first
            return type(self)(x, weight, offset, self.n_rows[at], self.dtype)
        parts = [self.some(one) for one in at.split(1)]
        x, weight = (
            torch.cat([part.x for part in parts]),
            torch.cat([part.weight for part in parts]),
        )
        n_rows = self.n_rows[at]
        return type(self)(x, weight, n_rows.cumsum(0) - n_rows, n_rows, self.dtype)

    @property
    def group(self) -> Tensor:
        """Of which group each row is, ``(n,)``."""
        return torch.arange(len(self), device=self.x.device).repeat_interleave(self.n_rows)

    def sums(self, values: Tensor) -> Tensor:
        """Sums values of rows ``(n, ...)`` over each group, ``(G, ...)``."""
        zeros = values.new_zeros(len(self), *values.shape[1:])
        return zeros.index_add_(0, self.group, values)

    @property
    def total(self) -> Tensor:
        """The sum of each group's weights, ``(G,)``."""
        return self.sums(self.weight)

    def chunks(self, most_rows: int) -> list[tuple[int, int]]:
        """Parts of the groups, first and last, of so many rows each, or of one group."""
        parts, first, count = [], 0, 0
        for group, n_rows in enumerate(self.n_rows.tolist()):
            if count + n_rows > most_rows and group > first:
                parts.append((first, group))
                first, count = group, 0
            count += n_rows
        return [*parts, (first, len(self))]


def _joined(tables: Any) -> tuple[Tensor, Tensor]:
    """The rows of an iterable of tables, and the number of each row's table."""
    expected = "an iterable of tables, one for each group, as groups is None"
    is_table = isinstance(tables, Tensor | str | dict) or hasattr(tables, "columns")
    is_many = isinstance(tables, Iterable) and not is_table
    check(is_many, "x", expected, type(tables).__name__)
    parts = [as_table(f"x[{i}]", table).values for i, table in enumerate(tables)]
    check(parts, "x", expected, "none")
    width = parts[0].shape[-1:]
    for i, part in enumerate(parts):
        expected = f"shape (n, {width[0] if width else 'D'})"
        fits = part.dim() == 2 and part.shape[-1:] == width
        check(fits, f"x[{i}]", expected, f"shape {tuple(part.shape)}")
    codes = [parts[0].new_full(part.shape[:1], i, dtype=torch.long) for i, part in enumerate(parts)]
    return torch.cat(parts), torch.cat(codes)


def _codes(groups: Any, n_rows: int) -> Tensor:
    codes = as_labels("groups", groups)
    shape = tuple(codes.shape)
    check(shape == (n_rows,), "groups", f"shape ({n_rows},), as x has rows", f"shape {shape}")
    is_whole = not (codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool)
    expected = "integer codes from 0 (pandas.factorize makes them)"
    check(is_whole, "groups", expected, codes.dtype)
    check_values("groups", codes, codes >= 0, expected)
    return codes.long()
