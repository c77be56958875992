"""Rows that come in blocks."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from ..checks import check
from ..processes import is_distributed
from ..tables import as_vector
from .held import held_source
from .source import Part, Source

__all__ = ["StreamSource"]


class StreamSource(Source):
    """An iterable of blocks of rows, or of pairs of a block and the weights of its rows."""

    @staticmethod
    def takes(x: Any) -> bool:
        """Whatever nothing else takes; it is checked when it is read."""
        return True

    def parts(self) -> Iterator[Part]:
        """The blocks, checked as they come."""
        expected = "a tensor, an array, or an iterable of blocks that can be read again"
        check(isinstance(self._x, Iterable), "x", expected, type(self._x).__name__)
        got = f"an iterator ({type(self._x).__name__})"
        check(not isinstance(self._x, Iterator), "x", expected, got)
        return map(_as_part, _uninterrupted(self._x))


def _as_part(item: Any) -> Part:
    rows, weight = item, None
    if isinstance(item, tuple | list):
        check(len(item) in (1, 2), "x", "blocks or pairs (block, weights)", len(item))
        rows, weight = item[0], item[1] if len(item) == 2 else None
    layout = getattr(rows, "layout", torch.strided)
    check(layout == torch.strided, "x", "dense blocks", layout)
    source = held_source(rows)
    shape = () if source is None or source.shape is None else source.shape
    got = getattr(rows, "shape", type(rows).__name__)
    check(source is not None and len(shape) == 2, "x", "blocks of shape (n, D)", got)
    assert source is not None
    if weight is not None:
        weight = as_vector("sample_weight", weight)
        got, expected = tuple(weight.shape), shape[:1]
        check(got == expected, "sample_weight", f"shape {expected}, as its block", got)
    (part,) = source.parts()
    return part._replace(weight=weight)


def _uninterrupted(x: Iterable) -> Iterator[Any]:
    """Reads blocks; where others wait for them, the keyboard's interrupt is an error like any."""
    try:
        yield from x
    except KeyboardInterrupt:
        if not is_distributed():
            raise
        raise ValueError("x: interrupted by the keyboard") from None
