"""Rows in an array or a memory map."""

from typing import Any

import numpy as np
from torch import Tensor

from ..tables import as_table
from .source import Part, Source
from .table import TableSource

__all__ = ["ArraySource"]


class ArraySource(Source):
    """An array of floating-point numbers, or a memory map of any: read where it lies."""

    @staticmethod
    def takes(x: Any) -> bool:
        """Whether it is an array of rows that torch can read block by block."""
        if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray) or x.ndim != 2:
            return False
        is_plain = x.dtype.kind == "f" and x.dtype.itemsize in (4, 8)
        return is_plain or isinstance(x, np.memmap)

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self._x.shape

    def in_precision_of(self, like: Tensor) -> Source:
        """Converts an array at once; a memory map, which may be larger than memory, in blocks."""
        if isinstance(self._x, np.memmap):
            return self
        same = as_table(self.name, self._x[:0]).values.dtype == like.dtype
        return self if same else TableSource(self._x).in_precision_of(like)

    def parts(self) -> list[Part]:
        """The array, of whose slices tensors are made."""
        return [Part(self._x)]
