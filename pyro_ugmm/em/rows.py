"""Rows of data in whatever form they come, as blocks."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check
from .statistics import all_reduce, is_distributed

__all__ = ["Rows", "as_tensor"]


def as_tensor(name: str, value: Any) -> Tensor:
    """Returns whatever holds numbers, such as a list, an array or a series, as a tensor."""
    if isinstance(value, Tensor):
        return value.detach()
    array = np.asarray(value)
    is_number = array.dtype.kind in "biuf" and array.dtype.itemsize <= 8
    check(is_number, name, "a tensor or an array of numbers", f"an array of {array.dtype}")
    return torch.from_numpy(_native(array))


class Rows:
    """Blocks of rows from a tensor, an array, a memory map or an iterable of blocks.

    Each reading checks shape, kind and values as the blocks come by, until one has gone through
    all of them.

    Args:
        x: a tensor or array ``(n, D)``; or an iterable that can be read again, such as a
            DataLoader, of such blocks, or of pairs of a block and the weights of its rows.
        like: a tensor ``(..., D)`` whose dtype the rows must have; blocks move to its device. By
            default, the first block.
        weight: the weights of the rows, shape ``(n,)``, non-negative; not with an iterable.
        missing: whether NaN stands for an entry that is missing (``"marginalize"``).
    """

    def __init__(
        self, x: Any, like: Tensor | None, weight: Any = None, missing: str = "error"
    ) -> None:
        if like is not None:
            _check_dtype("start", like.dtype)
        self._like, self._missing = like, missing
        self._checked = False
        got = type(x).__name__
        check(not hasattr(x, "toarray"), "x", "a dense tensor or array", f"a sparse {got}")
        if not isinstance(x, Tensor | np.ndarray) and hasattr(x, "__array__"):
            x = np.asarray(x)
        self._is_whole = isinstance(x, Tensor | np.ndarray)
        expected = "a tensor, an array, or an iterable of blocks that can be read again"
        if self._is_whole:
            check(x.ndim == 2, "x", "shape (n, D)", tuple(x.shape))
            _check_kind(x)
            check(len(x) or is_distributed(), "x", "at least one row", tuple(x.shape))
        else:
            check(isinstance(x, Iterable), "x", expected, type(x).__name__)
            check(iter(x) is not x, "x", expected, f"an iterator ({type(x).__name__})")
            check(weight is None, "sample_weight", "pairs (block, weights) in x instead", "both")
        if _shares_memory(x):
            x = torch.from_numpy(x)
        if weight is not None:
            weight = as_tensor("sample_weight", weight)
            shape = tuple(weight.shape)
            check(shape == (len(x),), "sample_weight", f"shape ({len(x)},), as x has rows", shape)
            _check_weights(weight, 0)
            _check_some_weight(weight.sum())
        self._x, self._weight = x, weight

    def normalize_weights(self) -> float:
        """Divides weights by their mean over all processes, which it returns; those of a stream
        stay as they are.
        """
        weight, counted = self._weight, [0.0, 0.0, float(not self._is_whole or len(self._x))]
        if weight is not None:
            counted = [weight.double().sum().item(), float(len(weight)), 0.0]
        (sums,) = all_reduce([torch.tensor(counted, dtype=torch.float64)])
        total, count, n_without = sums.tolist()
        if weight is None or n_without:
            return 1.0
        scaled = weight.double() / (total / count)
        self._weight = scaled if self._like is None else scaled.to(self._like.dtype)
        return total / count

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yields blocks of at most ``size`` rows, ``(B, D)``, and their weights, ``(B,)``."""
        start, total = 0, 0.0
        for rows, weight in [(self._x, self._weight)] if self._is_whole else self._items():
            for at in range(0, len(rows), size):
                block = rows[at : at + size]
                part = None if weight is None else weight[at : at + size]
                block = self._converted(block)
                if self._like is None:
                    self._like = block
                if not self._checked:
                    self._check(block, start)
                    total += len(block) if part is None else _check_weights(part, start)
                start += len(block)
                yield block, None if part is None else part.to(self._like)
        check(start or is_distributed(), "x", "at least one row", "none")
        if not self._checked:
            _check_some_weight(total)
        self._checked = True

    def _items(self) -> Iterator[tuple[Any, Any]]:
        for item in self._x:
            rows, weight = item, None
            if isinstance(item, tuple | list):
                check(len(item) in (1, 2), "x", "blocks or pairs (block, weights)", len(item))
                rows, weight = item[0], item[1] if len(item) == 2 else None
            is_block = isinstance(rows, Tensor | np.ndarray) and rows.ndim == 2
            got = getattr(rows, "shape", type(rows).__name__)
            check(is_block, "x", "blocks of shape (n, D)", got)
            _check_kind(rows)
            if weight is not None:
                weight = as_tensor("sample_weight", weight)
                shape, expected = tuple(weight.shape), (len(rows),)
                check(shape == expected, "sample_weight", f"shape {expected}, as its block", shape)
            yield rows, weight

    def _converted(self, block: Any) -> Tensor:
        if isinstance(block, np.ndarray):
            block = torch.from_numpy(_native(block))
        return block.detach() if self._like is None else block.detach().to(self._like.device)

    def _check(self, block: Tensor, start: int) -> None:
        _check_dtype("x", block.dtype)
        assert self._like is not None
        dtype, n_features = self._like.dtype, self._like.shape[-1]
        check(block.dtype == dtype, "x", f"{dtype}, as the start or first block has", block.dtype)
        expected = f"{n_features} features, as the start or first block has"
        check(block.shape[1] == n_features, "x", expected, f"shape (n, {block.shape[1]})")
        check(n_features, "x", "at least one feature", "none")
        if block.square().sum().isfinite():
            return
        bad, expected = ~block.isfinite(), "finite values (missing='marginalize' takes NaN)"
        if self._missing == "marginalize":
            is_nan = block.isnan()
            bad = (bad & ~is_nan) | is_nan.all(1, keepdim=True)
            expected = "finite values, or NaN in rows of which something was observed"
        if not bad.any():
            largest = torch.finfo(dtype).max ** 0.5 / 1e3
            bad = block.abs() > largest
            expected = f"values below {largest:.0e}, whose squares {dtype} can hold"
        if bad.any():
            row, column = bad.nonzero()[0].tolist()
            value = block[row, column].item()
            raise ValueError(
                f"x: expected {expected}, got {value} in row {start + row}, column {column}"
            )


def _shares_memory(x: Any) -> bool:
    """Whether torch can use an array's memory as it is; a memory map is better read in blocks."""
    if not isinstance(x, np.ndarray) or isinstance(x, np.memmap):
        return False
    return x.flags.writeable and x.dtype.isnative and min(x.strides, default=0) >= 0


def _native(array: np.ndarray) -> np.ndarray:
    """A copy in the machine's order: torch shares memory only with arrays that it may write to."""
    return np.array(array, dtype=array.dtype.newbyteorder("="))


def _check_kind(x: Any) -> None:
    """Checks that torch can hold what is in a tensor or an array."""
    if isinstance(x, Tensor):
        check(x.layout == torch.strided, "x", "a dense tensor", x.layout)
    else:
        expected = "float32 or float64 (of a data frame: .to_numpy(float))"
        is_known = x.dtype.kind == "f" and x.dtype.itemsize in (4, 8)
        check(is_known, "x", expected, f"an array of {x.dtype}")


def _check_dtype(name: str, dtype: torch.dtype) -> None:
    check(dtype in (torch.float32, torch.float64), name, "float32 or float64", dtype)


def _check_some_weight(total: Any) -> None:
    expected = "at least one positive weight"
    check(total > 0 or is_distributed(), "sample_weight", expected, "none")


def _check_weights(weight: Tensor, start: int) -> float:
    """Checks the weights of rows from ``start`` on, and returns their sum."""
    valid = weight.isfinite() & (weight >= 0)
    if not valid.all():
        at = int((~valid).nonzero()[0])
        raise ValueError(
            f"sample_weight: expected finite non-negative weights, got {weight[at].item()} "
            f"in row {start + at}"
        )
    return weight.double().sum().item()
