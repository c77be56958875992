"""The rows of each step: of tensors, of a dataset, or of a DataLoader."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..checks import check, check_integer

__all__ = ["Batches", "make_batches"]

Rows = tuple[Tensor, ...]


class Batches(ABC):
    """Batches of rows without end, whose place in the data can be kept and found again."""

    n_rows: int
    """The number of rows of the full data."""

    @abstractmethod
    def first_rows(self, count: int) -> Rows:
        """Returns some rows, for a model to be set up with: ``count``, or fewer."""

    @abstractmethod
    def next(self) -> Rows:
        """Returns the rows of the next step."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Returns the place, as tensors and numbers."""

    @abstractmethod
    def load(self, state: dict[str, Any]) -> None:
        """Goes to a place."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Tells these data from others."""


class _TensorBatches(Batches):
    """Shuffled passes over tensors, or all of them at every step."""

    def __init__(self, data: Rows, batch_size: int | None) -> None:
        self._data, self.n_rows = data, len(data[0])
        self._size = None if batch_size is None or batch_size >= self.n_rows else batch_size
        self._order = torch.zeros(0, dtype=torch.long)

    def first_rows(self, count: int) -> Rows:
        return tuple(part[:count] for part in self._data)

    def next(self) -> Rows:
        if self._size is None:
            return self._data
        if not len(self._order):
            # The last batch of a pass is short; it would weigh its rows more than the others.
            self._order = torch.randperm(self.n_rows)[: self.n_rows - self.n_rows % self._size]
        at, self._order = self._order[: self._size], self._order[self._size :]
        return tuple(part[at.to(part.device)] for part in self._data)

    def state(self) -> dict[str, Any]:
        return {"order": self._order.clone()}

    def load(self, state: dict[str, Any]) -> None:
        self._order = state["order"]

    def fingerprint(self) -> str:
        digests = [zlib.crc32(part.cpu().contiguous().numpy().tobytes()) for part in self._data]
        return f"{self.n_rows} rows {digests} by {self._size or 'all'}"


class _LoaderBatches(Batches):
    """The batches of a DataLoader, pass after pass, checked as they come."""

    def __init__(
        self, loader: DataLoader, device: torch.device, check_rows: Callable[..., None]
    ) -> None:
        self._loader, self._device, self._check = loader, device, check_rows
        dataset = loader.dataset
        has_length = hasattr(dataset, "__len__")
        check(has_length, "x", "a DataLoader of a dataset with a length", type(dataset).__name__)
        self.n_rows = len(dataset)  # type: ignore[arg-type]
        check(len(loader), "x", "a DataLoader of at least one batch", "none")
        self._iterator: Iterator[Any] | None = None
        self._position = 0
        self._began = torch.get_rng_state()

    def _converted(self, batch: Any) -> Rows:
        parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
        valid = len(parts) in (1, 2) and all(isinstance(part, Tensor) for part in parts)
        got = [type(part).__name__ for part in parts]
        check(valid, "x", "batches of a tensor, or of features and labels", got)
        rows = tuple(part.to(self._device) for part in parts)
        self._check(*rows)
        return rows

    def first_rows(self, count: int) -> Rows:
        return tuple(part[:count] for part in self._converted(next(iter(self._loader))))

    def _begin(self) -> None:
        self._began, self._position = torch.get_rng_state(), 0
        self._iterator = iter(self._loader)

    def next(self) -> Rows:
        if self._iterator is None or self._position == len(self._loader):
            self._begin()
        assert self._iterator is not None
        self._position += 1
        return self._converted(next(self._iterator))

    def state(self) -> dict[str, Any]:
        return {"began": self._began, "position": self._position}

    def load(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["began"])
        self._begin()
        assert self._iterator is not None
        for _ in range(state["position"]):
            next(self._iterator)
        self._position = state["position"]

    def fingerprint(self) -> str:
        return f"{self.n_rows} rows of a DataLoader in {len(self._loader)} batches"


def make_batches(
    x: Any,
    y: Tensor | None,
    batch_size: int | None,
    device: torch.device,
    check_rows: Callable[..., None],
) -> Batches:
    """Makes batches of what a user gives as data.

    Args:
        x: a tensor; a dataset or a DataLoader, of rows or of pairs with labels.
        y: labels, with a tensor.
        batch_size: the rows of a batch; None for all rows, and with a DataLoader.
        device: where the model is, to which batches of a DataLoader move.
        check_rows: raises a ``ValueError`` if rows do not fit the model.
    """
    if batch_size is not None:
        check_integer("batch_size", batch_size)
    if not isinstance(x, Dataset | DataLoader):
        check_rows(x, *(() if y is None else (y,)))
        return _TensorBatches((x,) if y is None else (x, y), batch_size)
    check(y is None, "y", "labels within x, as x is a dataset or DataLoader", "a tensor")
    if isinstance(x, DataLoader):
        check(batch_size is None, "batch_size", "None, as the DataLoader has its own", batch_size)
        return _LoaderBatches(x, device, check_rows)
    check(hasattr(x, "__len__"), "x", "a dataset with a length", type(x).__name__)
    n_rows = len(x)  # type: ignore[arg-type]
    check(n_rows, "x", "a dataset with at least one row", "none")
    size = min(batch_size or n_rows, n_rows)
    loader = DataLoader(x, batch_size=size, shuffle=size < n_rows, drop_last=True)
    return _LoaderBatches(loader, device, check_rows)
