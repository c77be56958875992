"""Rows in a data frame, a masked array, lists or whatever else holds them all at once."""

from typing import Any, Self

import torch
from torch import Tensor

from ..tables import Table, as_table
from .source import Part, Source

__all__ = ["TableSource"]


class TableSource(Source):
    """Rows that are converted to a tensor when they are given, and not at each reading."""

    def __init__(self, x: Any) -> None:
        super().__init__(as_table(self.name, x))
        self.name = self._x.name

    @staticmethod
    def takes(x: Any) -> bool:
        """Whether it holds all rows at once, unlike an iterable of blocks."""
        if isinstance(x, Table) or hasattr(x, "__array__") or hasattr(x, "toarray"):
            return True
        first = x[0] if isinstance(x, list | tuple) and x else ()
        if getattr(first, "ndim", 0) == 1:
            return True
        return isinstance(first, list | tuple) and len(first) > 0 and all(map(_is_single, first))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return tuple(self._x.values.shape)

    def in_precision_of(self, like: Tensor) -> Self:
        """Converts what came as no tensor."""
        if self._x.is_tensor:
            return self
        return type(self)(self._x.like("start", torch.empty(0, dtype=like.dtype)))

    def parts(self) -> list[Part]:
        """The values, with the names of columns."""
        return [Part(self._x)]


def _is_single(value: Any) -> bool:
    return getattr(value, "ndim", 1) == 0 or not hasattr(value, "__len__")
