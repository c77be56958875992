"""The kinds of data that hold all their rows at once."""

from typing import Any

from .array import ArraySource
from .source import Source
from .table import TableSource
from .tensor import TensorSource

__all__ = ["HELD", "held_source"]

HELD: tuple[type[Source], ...] = (TensorSource, ArraySource, TableSource)


def held_source(x: Any) -> Source | None:
    """The source of rows that are held all at once, or ``None`` if they are not."""
    return next((kind(x) for kind in HELD if kind.takes(x)), None)
