"""Rows of data in whatever form they come, as blocks."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..accumulation import double, double_device
from ..checks import check
from ..missing_values import mixture_rule
from ..processes import all_reduce, current, is_distributed
from ..tables import Table, as_table, as_vector, native

__all__ = ["Rows", "opened"]

_PRECISIONS = (torch.float32, torch.float64)


def opened(x: Any) -> Any:
    """Converts rows that are held all at once in a data frame or the like, to be read often.

    Tensors, arrays of floating-point numbers, memory maps and iterables of blocks come back as they
    are: they are read in blocks without a copy.
    """
    as_it_is = isinstance(x, Table | Tensor | np.memmap) or _is_plain(x)
    if as_it_is or not _is_whole(x):
        return x
    return as_table("x", x)


class Rows:
    """Blocks of rows from a tensor, an array, a memory map, a frame, or an iterable of blocks.

    Each reading checks shape, kind and values as the blocks come by, until one has gone through
    all of them. Arrays and frames take the dtype of ``like``, as far as it can hold them.

    Args:
        x: rows ``(n, D)``; or an iterable that can be read again, such as a DataLoader, of such
            blocks, or of pairs of a block and the weights of its rows.
        like: a tensor ``(..., D)`` whose dtype the rows must have; blocks move to its device. By
            default, the first block.
        weight: the weights of the rows, shape ``(n,)``, non-negative; not with an iterable.
        missing: whether NaN stands for an entry that is missing (``"marginalize"``).
        observed: whether something has to be observed of each column.

    Attributes:
        missing: as given.
        seen_once: the columns, in words, that were observed in a single row; known once all rows
            were read, if ``observed``.
    """

    def __init__(
        self,
        x: Any,
        like: Tensor | None,
        weight: Any = None,
        missing: str = "error",
        *,
        observed: bool = False,
    ) -> None:
        if like is not None:
            _check_dtype("start", like.dtype)
        self._like, self.missing, self._observed = like, missing, observed
        self._name = x.name if isinstance(x, Table) else "x"
        self._columns: tuple[str, ...] | None = None
        self._checked = False
        self.seen_once: tuple[str, ...] = ()
        self._is_whole = _is_whole(x)
        if self._is_whole:
            x = self._whole(x)
        else:
            expected = "a tensor, an array, or an iterable of blocks that can be read again"
            check(isinstance(x, Iterable), "x", expected, type(x).__name__)
            check(iter(x) is not x, "x", expected, f"an iterator ({type(x).__name__})")
            check(weight is None, "sample_weight", "pairs (block, weights) in x instead", "both")
        if weight is not None:
            weight = as_vector("sample_weight", weight)
            shape = tuple(weight.shape)
            check(shape == (len(x),), "sample_weight", f"shape ({len(x)},), as x has rows", shape)
            total = _check_weights(weight, 0)
            check(total > 0 or is_distributed(), *_SOME_WEIGHT)
        self._x: Any = x
        self._weight = weight

    def _whole(self, x: Any) -> Tensor | np.ndarray:
        """Checks all rows as far as can be done without reading them."""
        x = opened(x)
        if isinstance(x, np.ndarray) and x.ndim and not isinstance(x, np.memmap):
            same = self._like is None or as_table("x", x[:0]).values.dtype == self._like.dtype
            x = x if same else as_table("x", x)
        if isinstance(x, Table):
            self._columns = x.columns
            x = self._in_precision(x)
        check(x.ndim == 2, self._name, "shape (n, D)", tuple(x.shape))
        check(len(x) or is_distributed(), self._name, "at least one row", tuple(x.shape))
        if isinstance(x, Tensor):
            check(x.layout == torch.strided, self._name, "a dense tensor", x.layout)
        elif not isinstance(x, np.memmap) and native(none := x[:0]) is none:
            x = torch.from_numpy(x)
        return x

    @property
    def like(self) -> Tensor:
        """A tensor in the dtype, with the features and on the device of the rows that were read."""
        assert self._like is not None
        return self._like

    def normalize_weights(self) -> float:
        """Divides weights by their mean over all processes, which it returns; those of a stream
        stay as they are.
        """
        weight, counted = self._weight, [0.0, 0.0, float(not self._is_whole or len(self._x))]
        if weight is not None:
            counted = [double(weight).sum().item(), float(len(weight)), 0.0]
        device = torch.device("cpu") if self._like is None else double_device(self._like.device)
        (sums,) = all_reduce([torch.tensor(counted, dtype=torch.float64, device=device)])
        total, count, n_without = sums.tolist()
        check(total > 0 or n_without or not count, *_SOME_WEIGHT)
        if weight is None or n_without or not count:
            return 1.0
        scaled = double(weight) / (total / count)
        self._weight = scaled if self._like is None else scaled.to(self._like.dtype)
        return total / count

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yields blocks of at most ``size`` rows, ``(B, D)``, and their weights, ``(B,)``."""
        start, total, seen = 0, 0.0, None
        for rows, weight in [(self._x, self._weight)] if self._is_whole else self._items():
            for at in range(0, len(rows), size):
                block = self._converted(rows[at : at + size])
                part = None if weight is None else weight[at : at + size]
                if self._like is None:
                    self._like = block
                if not self._checked:
                    self._check(block, start)
                    dtype = self._like.dtype
                    total += len(block) if part is None else _check_weights(part, start, dtype)
                    seen = self._seen(block, part, seen)
                start += len(block)
                yield block, None if part is None else part.to(self._like)
        if not self._checked:
            self._conclude(start, total, seen)
        self._checked = True

    def _seen(self, block: Tensor, weight: Tensor | None, before: Tensor | None) -> Tensor | None:
        """In how many rows each column was observed so far, of those that weigh something."""
        if not self._observed or self.missing != "marginalize":
            return None
        has = ~block.isnan()
        if weight is not None:
            has &= (weight > 0).to(block.device).unsqueeze(1)
        seen = has.sum(0)
        return seen if before is None else seen + before

    def _conclude(self, count: int, total: float, seen: Tensor | None) -> None:
        """Checks what is known of the rows of all processes once they were read."""
        kind = None if not count or self._like is None else (self._like.shape[-1], self._like.dtype)
        mine = kind, total, None if seen is None else seen.cpu()
        kinds, totals, seens = zip(*current().gather("rows", mine), strict=True)
        filled = list(dict.fromkeys(kind for kind in kinds if kind is not None))
        check(filled, self._name, "at least one row", "none")
        expected = "the same number of features and dtype on all processes"
        check(len(filled) == 1, self._name, expected, filled)
        if self._like is None:
            n_features, dtype = filled[0]
            self._like = torch.empty(0, n_features, dtype=dtype)
        total_of_all, largest = sum(totals), torch.finfo(self._like.dtype).max ** 0.5
        check(total_of_all > 0, *_SOME_WEIGHT)
        expected = f"weights whose sum is below {largest:.0e}"
        check(total_of_all < largest, "sample_weight", expected, f"{total_of_all:.3g}")
        parts = [part for part in seens if part is not None]
        if parts:
            where = "" if total == count else ", in rows of positive weight"
            seen = torch.stack(parts).sum(0)
            table = Table(self._name, seen, self._columns)
            table.check_observed(seen > 0, where)
            once = (seen == 1).nonzero()[:, 0].tolist() if total_of_all > 1 else []
            self.seen_once = tuple(map(table.column, once))

    def _items(self) -> Iterator[tuple[Any, Any]]:
        for item in _uninterrupted(self._x):
            rows, weight = item, None
            if isinstance(item, tuple | list):
                check(len(item) in (1, 2), "x", "blocks or pairs (block, weights)", len(item))
                rows, weight = item[0], item[1] if len(item) == 2 else None
            got = getattr(rows, "shape", type(rows).__name__)
            rows = opened(rows)
            if isinstance(rows, Table):
                self._columns = rows.columns
                rows = self._in_precision(rows)
            is_block = isinstance(rows, Tensor | np.ndarray) and rows.ndim == 2
            check(is_block, "x", "blocks of shape (n, D)", got)
            layout = getattr(rows, "layout", torch.strided)
            check(layout == torch.strided, "x", "dense blocks", layout)
            if weight is not None:
                weight = as_vector("sample_weight", weight)
                shape, expected = tuple(weight.shape), (len(rows),)
                check(shape == expected, "sample_weight", f"shape {expected}, as its block", shape)
            yield rows, weight

    def _in_precision(self, table: Table) -> Tensor:
        """What came as no tensor, in the dtype of the start or first block."""
        if self._like is None or table.is_tensor:
            return table.values
        return table.like("start", torch.empty(0, dtype=self._like.dtype)).values

    def _converted(self, block: Any) -> Tensor:
        if isinstance(block, np.ndarray):
            block = self._in_precision(as_table("x", block))
        return block.detach() if self._like is None else block.detach().to(self._like.device)

    def _check(self, block: Tensor, start: int) -> None:
        _check_dtype(self._name, block.dtype)
        assert self._like is not None
        dtype, n_features = self._like.dtype, self._like.shape[-1]
        check(
            block.dtype == dtype,
            self._name,
            f"{dtype}, as the start or first block has",
            block.dtype,
        )
        expected = f"{n_features} features, as the start or first block has"
        check(block.shape[1] == n_features, self._name, expected, f"shape (n, {block.shape[1]})")
        check(n_features, self._name, "at least one feature", "none")
        if block.square().sum().isfinite():
            return
        rule, table = mixture_rule(self.missing), Table(self._name, block, self._columns)
        table.check_entries(rule.valid(block), rule.expected, start)
        largest = torch.finfo(dtype).max ** 0.5 / 1e3
        expected = f"values below {largest:.0e}, whose squares {dtype} can hold"
        table.check_entries(~(block.abs() > largest), expected, start)


_SOME_WEIGHT = ("sample_weight", "at least one positive weight", "none")


def _is_plain(x: Any) -> bool:
    """Whether it is an array of floating-point numbers as torch has them."""
    is_array = isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray)
    return is_array and x.dtype.kind == "f" and x.dtype.itemsize in (4, 8)


def _is_whole(x: Any) -> bool:
    """Whether it holds all rows at once, unlike an iterable of blocks."""
    if isinstance(x, Table | Tensor) or hasattr(x, "__array__") or hasattr(x, "toarray"):
        return True
    first = x[0] if isinstance(x, list | tuple) and x else ()
    if getattr(first, "ndim", 0) == 1:
        return True
    return isinstance(first, list | tuple) and len(first) > 0 and all(map(_is_single, first))


def _is_single(value: Any) -> bool:
    return getattr(value, "ndim", 1) == 0 or not hasattr(value, "__len__")


def _uninterrupted(x: Iterable) -> Iterator[Any]:
    """Reads blocks; where others wait for them, the keyboard's interrupt is an error like any."""
    try:
        yield from x
    except KeyboardInterrupt:
        if not is_distributed():
            raise
        raise ValueError("x: interrupted by the keyboard") from None


def _check_dtype(name: str, dtype: torch.dtype) -> None:
    check(dtype in _PRECISIONS, name, "float32 or float64", dtype)


def _check_weights(weight: Tensor, start: int, dtype: torch.dtype | None = None) -> float:
    """Checks the weights of rows from ``start`` on, and returns their sum.

    Those of a stream have to be in the range of a dtype, as nobody knows their mean beforehand.
    """
    valid, expected = weight.isfinite() & (weight >= 0), "finite non-negative weights"
    if dtype is not None and weight.dtype == torch.float64 != dtype:
        held = weight.to(dtype)
        valid = valid & held.isfinite() & ((held > 0) == (weight > 0))
        expected += f" that {dtype} can hold"
    if not valid.all():
        at = int((~valid).nonzero()[0])
        raise ValueError(
            f"sample_weight: expected {expected}, got {weight[at].item()} in row {start + at}"
        )
    return double(weight).sum().item()
