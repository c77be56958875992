"""The rows of each step: of tensors, of a dataset, or of a DataLoader."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

from ..checks import check, check_integer

__all__ = ["Batches", "make_batches"]

Rows = tuple[Tensor, ...]

_ROWS_COMPARED = 64


def _checksum(rows: Rows) -> list[int]:
    parts = (part.detach().cpu().contiguous() for part in rows)
    return [zlib.crc32(part.view(torch.uint8).numpy().tobytes()) for part in parts]


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
        return f"{self.n_rows} rows {_checksum(self._data)} by {self._size or 'all'}"


class _LoaderBatches(Batches):
    """The batches of a DataLoader, pass after pass, checked as they come."""

    def __init__(
        self, loader: DataLoader, device: torch.device, check_rows: Callable[..., None]
    ) -> None:
        self._loader, self._device, self._check = loader, device, check_rows
        dataset = loader.dataset
        has_length = hasattr(dataset, "__len__")
        check(has_length, "x", "a DataLoader of a dataset with a length", type(dataset).__name__)
        self.n_rows = _count_rows(loader)
        check(len(loader), "x", "a DataLoader of at least one batch", "none")
        self._iterator: Iterator[Any] | None = None
        self._position = 0
        self._generators = _generators(loader)
        self._began = self._random_states()

    def _random_states(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(one.get_state() for one in self._generators)]

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
        self._began, self._position = self._random_states(), 0
        self._iterator = iter(self._loader)

    def next(self) -> Rows:
        batch = None if self._iterator is None else next(self._iterator, None)
        if batch is None:
            self._begin()
            batch = next(self._iterator, None)  # type: ignore[arg-type]
            check(batch is not None, "x", "batches in every pass", "none")
        self._position += 1
        return self._converted(batch)

    def state(self) -> dict[str, Any]:
        return {"began": self._began, "position": self._position}

    def load(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["began"][0])
        for generator, before in zip(self._generators, state["began"][1:], strict=True):
            generator.set_state(before)
        self._begin()
        assert self._iterator is not None
        for _ in range(state["position"]):
            next(self._iterator)
        self._position = state["position"]

    def fingerprint(self) -> str:
        batches = f"{self.n_rows} rows of a DataLoader in {len(self._loader)} batches"
        return f"{batches}, {self._some_rows()}"

    def _some_rows(self) -> str:
        """Tells rows from others, unless they are never twice the same."""
        dataset = self._loader.dataset
        if isinstance(dataset, IterableDataset):
            return "in their own order"
        n_rows = len(dataset)  # type: ignore[arg-type]
        which, collate = range(0, n_rows, -(-n_rows // _ROWS_COMPARED)), self._loader.collate_fn
        found = []
        for _ in range(2):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                rows = [dataset[i] for i in which]
            batches = rows if self._loader.batch_sampler is None else [rows]
            found.append([_checksum(self._converted(collate(batch))) for batch in batches])
        return f"rows {found[0]}" if found[0] == found[1] else "rows that vary"


def _generators(loader: DataLoader) -> list[torch.Generator]:
    """The random generators that a loader and its samplers have for themselves."""
    samplers = (
        loader.sampler,
        loader.batch_sampler,
        getattr(loader.batch_sampler, "sampler", None),
    )
    owned = [getattr(owner, "generator", None) for owner in (loader, *samplers)]
    return list({id(one): one for one in owned if isinstance(one, torch.Generator)}.values())


def _count_rows(loader: DataLoader) -> int:
    """The rows that passes go over: the dataset's, or those of them that a sampler takes.

    A sampler that draws a number of rows, others at each pass, goes over all.
    """
    n_rows = len(loader.dataset)  # type: ignore[arg-type]
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    if isinstance(sampler, RandomSampler) or not hasattr(sampler, "__len__"):
        return n_rows
    return min(n_rows, len(sampler))  # type: ignore[arg-type]


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
        batch_size: the rows of a batch; None for all rows, read once, and with a DataLoader.
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
    if batch_size is None or batch_size >= n_rows:
        batches = _LoaderBatches(DataLoader(x, batch_size=n_rows), device, check_rows)
        return _TensorBatches(batches.next(), None)
    shuffle = None if isinstance(x, IterableDataset) else True
    loader = DataLoader(x, batch_size=batch_size, shuffle=shuffle, drop_last=True)
    return _LoaderBatches(loader, device, check_rows)
