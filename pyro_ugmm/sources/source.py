"""What every kind of data can be asked for."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ..tables import Table
from .batches import Batches, Batching
from .tensor_batches import TensorBatches

__all__ = ["Part", "Source"]


class Part(NamedTuple):
    """Rows ``(n, D)`` as they are held, and the weights ``(n,)`` that came with them."""

    rows: Tensor | np.ndarray | Table
    weight: Tensor | None = None


class Source(ABC):
    """Data of one kind.

    Args:
        x: the data, for which :meth:`takes` holds.
    """

    name = "x"
    """What the caller calls the data."""

    def __init__(self, x: Any) -> None:
        self._x = x

    @staticmethod
    @abstractmethod
    def takes(x: Any) -> bool:
        """Whether something is of this kind."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of all rows, or ``None`` where only a reading tells."""
        return None

    def in_precision_of(self, like: Tensor) -> "Source":
        """The same data, converted once and not at each reading if they are of another dtype.

        Raises:
            ValueError: if that dtype cannot tell their rows apart.
        """
        return self

    @abstractmethod
    def parts(self) -> Iterable[Part]:
        """All rows, part after part, for EM; they can be read again.

        Raises:
            ValueError: if they are none that EM can read.
        """

    def batches(self, y: Any, batching: Batching) -> Batches:
        """Batches of rows without end, for training.

        Args:
            y: labels, or ``None``.
            batching: what training wants.

        Raises:
            ValueError: if the data do not fit the model.
        """
        rows = batching.convert(self._x, *(() if y is None else (y,)))
        return TensorBatches(rows, batching.batch_size, batching.size)
