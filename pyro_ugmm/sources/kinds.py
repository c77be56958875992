"""Which class reads which data."""

from typing import Any

from .dataset import DatasetSource
from .held import HELD
from .loader import LoaderSource
from .source import Source
from .stream import StreamSource

__all__ = ["SOURCES", "source_of"]

SOURCES: tuple[type[Source], ...] = (LoaderSource, DatasetSource, *HELD, StreamSource)
"""The classes, of which the first that takes some data reads them."""


def source_of(x: Any) -> Source:
    """Returns what reads data of any kind; a source comes back as it is.

    Example:
        >>> import torch
        >>> from pyro_ugmm.sources import source_of
        >>> source_of(torch.zeros(5, 2)).shape, source_of([[1.0, 2.0]]).shape
        ((5, 2), (1, 2))
    """
    if isinstance(x, Source):
        return x
    return next(kind for kind in SOURCES if kind.takes(x))(x)
