"""The rows that EM reads again and again, in blocks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..accumulation import double, double_device
from ..checks import check
from ..missing_values import mixture_rule
from ..processes import is_distributed
from ..sources import source_of
from ..tables import Table, as_table
from .inspection import Inspection, check_dtype
from .known_rows import KnownRows
from .row_weights import as_weights, check_some_weight, check_weights, mean_weight

__all__ = ["Rows"]


class Rows:
    """Blocks of rows of any kind of data.

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
        known: what is known of the rows beside their values.
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
        self.known = KnownRows()
        if like is not None:
            check_dtype("start", like.dtype)
        self._source = source_of(x) if like is None else source_of(x).in_precision_of(like)
        self._like, self.missing, self._observed = like, missing, observed
        self._is_checked = False
        self.seen_once: tuple[str, ...] = ()
        shape, name = self._source.shape, self._source.name
        if shape is None:
            check(weight is None, "sample_weight", "pairs (block, weights) in x instead", "both")
        else:
            check(len(shape) == 2, name, "shape (n, D), of one feature (n, 1)", shape)
            check(shape[0] or is_distributed(), name, "at least one row", shape)
        self._weight = None if weight is None or shape is None else as_weights(weight, shape[0])
        if self._weight is not None:
            total = check_weights(self._weight, 0)
            check_some_weight(total > 0 or is_distributed())

    @property
    def like(self) -> Tensor:
        """A tensor in the dtype, with the features and on the device of the rows that were read."""
        assert self._like is not None
        return self._like

    @property
    def n_rows(self) -> int | None:
        """How many there are, or ``None`` where only a reading tells."""
        shape = self._source.shape
        return None if shape is None else shape[0]

    def whole(self) -> tuple[Tensor, Tensor | None]:
        """Returns all rows at once, ``(n, D)``, and their weights, ``(n,)``, where
        :attr:`n_rows` is known.
        """
        assert self.n_rows is not None
        ((x, weight),) = self.blocks(self.n_rows)
        return x, weight

    def normalize_weights(self) -> float:
        """Divides weights by their mean over all processes, which it returns; those of a stream
        stay as they are.
        """
        if self._weight is None and not is_distributed():
            return 1.0
        here = torch.device("cpu") if self._like is None else double_device(self._like.device)
        shape = self._source.shape
        mean = mean_weight(self._weight, shape is None or shape[0] > 0, here)
        if self._weight is None or mean is None:
            return 1.0
        scaled = double(self._weight) / mean
        self._weight = scaled if self._like is None else scaled.to(self._like.dtype)
        return mean

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yields blocks of at most ``size`` rows, ``(B, D)``, and their weights, ``(B,)``."""
        rule = mixture_rule(self.missing)
        inspection = Inspection(self._source.name, rule, self._observed)
        for part in self._source.parts():
            weight = part.weight if self._weight is None else self._weight
            rows = part.rows
            if isinstance(rows, Table):
                inspection.columns, rows = rows.columns, self._in_precision(rows)
            for at in range(0, len(rows), size):
                block = self._as_block(rows[at : at + size])
                block_weight = None if weight is None else weight[at : at + size]
                if self._like is None:
                    self._like = block
                if not self._is_checked:
                    inspection.add(block, block_weight, self._like)
                yield block, None if block_weight is None else block_weight.to(self._like)
        if not self._is_checked:
            self._like, self.seen_once = inspection.conclude(self._like)
        self._is_checked = True

    def _in_precision(self, table: Table) -> Tensor:
        """What came as no tensor, in the dtype of the start or first block."""
        if self._like is None or table.is_tensor:
            return table.values
        return table.like("start", table.values.new_empty(0, dtype=self._like.dtype)).values

    def _as_block(self, rows: Tensor | np.ndarray) -> Tensor:
        if isinstance(rows, np.ndarray):
            rows = self._in_precision(as_table("x", rows))
        return rows.detach() if self._like is None else rows.detach().to(self._like.device)
