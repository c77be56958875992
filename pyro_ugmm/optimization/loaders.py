"""The batches of a DataLoader."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
    default_convert,
)

from ..checks import check, check_integer
from ..fingerprints import Fingerprint, fingerprint, is_of_library
from ..random_states import (
    kept_random_states,
    random_states,
    restore_random_states,
    seed_everything,
)
from .batches import Batches, Rows
from .reach import count_rows, length_of

__all__ = ["LoaderBatches"]

_ROWS_READ, _ROWS_READ_AGAIN, _ROWS_AT_ONCE = 65_536, 64, 512
_BATCHES_ASKED = 64


class LoaderBatches(Batches):
    """The batches of a DataLoader, pass after pass, converted and checked as they come.

    Args:
        loader: the loader.
        size: the number of rows of the full data, if the loader does not tell.
        device: where batches are to be.
        convert: turns a batch into rows, or raises a ``ValueError`` if it does not fit the model.
    """

    def __init__(
        self,
        loader: DataLoader,
        size: int | None,
        device: torch.device,
        convert: Callable[..., Rows],
    ) -> None:
        self._loader, self._device, self._convert = loader, device, convert
        has_length = size is not None or length_of(loader.dataset) is not None
        expected = "a DataLoader of a dataset with a length"
        check(has_length, "x", expected, type(loader.dataset).__name__)
        check(length_of(loader) != 0, "x", "a DataLoader of at least one batch", "none")
        self.n_rows = count_rows(loader) if size is None else check_integer("size", size)
        self._iterator: Iterator[Any] | None = None
        self._position = 0
        self._generators = _generators(loader)
        self._began = self._random_states()

    def _random_states(self) -> dict[str, Any]:
        own = [generator.get_state() for generator in self._generators]
        return {"process": random_states(), "own": own}

    def _restore(self, states: dict[str, Any]) -> None:
        restore_random_states(states["process"])
        for generator, before in zip(self._generators, states["own"], strict=True):
            generator.set_state(before)

    def _converted(self, batch: Any) -> Rows:
        parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
        got = [type(part).__name__ for part in parts]
        valid = len(parts) in (1, 2) and not any(isinstance(p, dict | str | bytes) for p in parts)
        check(valid, "x", "batches of a tensor, or of features and labels", got)
        return self._convert(*(p.to(self._device) if isinstance(p, Tensor) else p for p in parts))

    def first_rows(self, count: int) -> Rows:
        """Returns some rows, of the first batch if the data come in batches."""
        return tuple(part[:count] for part in self._converted(next(iter(self._loader))))

    def _begin(self) -> None:
        self._began, self._position = self._random_states(), 0
        self._iterator = iter(self._loader)

    def next(self) -> Rows:
        """Returns the rows of the next step."""
        batch = None if self._iterator is None else next(self._iterator, None)
        if batch is None:
            self._begin()
            batch = next(self._iterator, None)  # type: ignore[arg-type]
            check(batch is not None, "x", "batches in every pass", "none")
        self._position += 1
        return self._converted(batch)

    def state(self) -> dict[str, Any]:
        """Returns the place, as tensors and numbers."""
        return {"began": self._began, "position": self._position}

    def load(self, state: dict[str, Any]) -> None:
        """Goes to a place."""
        self._restore(state["began"])
        if not state["position"]:
            return
        self._begin()
        assert self._iterator is not None
        for _ in range(state["position"]):
            next(self._iterator)
        self._position = state["position"]

    def check_resumable(self) -> None:
        """Checks that a run can be taken up again with these data."""
        expected = "a DataLoader without persistent_workers, whose draws cannot be taken up again"
        check(not self._loader.persistent_workers, "checkpoint", expected, "one with them")
        once, again = self._order(), self._order()
        expected = (
            "rows in an order of torch's, NumPy's or Python's own generator, or of the loader's"
        )
        got = "orders that differ from pass to pass, though the generators do not"
        check(once == again, "checkpoint", expected, got)

    def _order(self) -> list[Any]:
        """What the samplers of one's own ask for first, from where the generators are."""
        loader, before = self._loader, self._random_states()
        samplers: list[Any] = [
            loader.sampler if loader.batch_sampler is None else loader.batch_sampler
        ]
        samplers += [getattr(samplers[0], "sampler", None)]
        if all(one is None or is_of_library(type(one)) for one in samplers):
            return []
        try:
            return [fingerprint(i) for i in itertools.islice(samplers[0], _BATCHES_ASKED)]
        finally:
            self._restore(before)

    def fingerprint(self) -> str:
        """Tells these data from others."""
        loader = self._loader
        sampling = [
            loader.batch_size,
            loader.drop_last,
            loader.num_workers,
            _settings(loader.sampler),
            _settings(loader.batch_sampler),
            self._generators,
            loader.collate_fn,
        ]
        said = f"{self.n_rows} rows of a DataLoader in {length_of(loader) or 'endless'} batches"
        return f"{said}, sampling {fingerprint(sampling)}, {self._rows_said()}"

    def _rows_said(self) -> str:
        """Tells the data set's rows from others."""
        dataset = self._loader.dataset
        if isinstance(dataset, IterableDataset):
            return f"in the order of a {type(dataset).__name__}"
        held = f"rows {_held_rows(dataset)}" if _is_held(dataset) else ""
        if held and self._loader.collate_fn in (default_collate, default_convert):
            return held
        n_rows = len(dataset)  # type: ignore[arg-type]
        every, few = (range(0, n_rows, -(-n_rows // k)) for k in (_ROWS_READ, _ROWS_READ_AGAIN))
        once, again = self._read(few), self._read(few)
        expected = "rows that are drawn by torch's, NumPy's or Python's own generator, if at all"
        check(once == again, "checkpoint", expected, "rows that differ from reading to reading")
        return f"{held}, read as {once}" if held else f"rows {self._read(every)}"

    def _read(self, which: range) -> str:
        """Tells rows that are read from others."""
        dataset, found = self._loader.dataset, Fingerprint()
        own = [generator.get_state() for generator in self._generators]
        with kept_random_states():
            seed_everything(0)
            for at in range(0, len(which), _ROWS_AT_ONCE):
                rows = [dataset[i] for i in which[at : at + _ROWS_AT_ONCE]]
                for batch in [rows] if self._loader.batch_sampler else rows:
                    found.add(self._converted(self._loader.collate_fn(batch)))
        for generator, before in zip(self._generators, own, strict=True):
            generator.set_state(before)
        return str(found)


def _is_held(dataset: Any) -> bool:
    """Whether a data set is tensors, or parts of these."""
    if isinstance(dataset, ConcatDataset):
        return all(map(_is_held, dataset.datasets))
    return type(dataset) is TensorDataset or (
        type(dataset) is Subset and type(dataset.dataset) is TensorDataset
    )


def _held_rows(dataset: Any) -> str:
    if isinstance(dataset, ConcatDataset):
        return fingerprint([_held_rows(part) for part in dataset.datasets])
    if isinstance(dataset, Subset):
        indices = torch.as_tensor([int(i) for i in dataset.indices])
        held = dataset.dataset.tensors  # type: ignore[attr-defined]
        return fingerprint([tensor[indices].detach() for tensor in held])
    return fingerprint([tensor.detach() for tensor in dataset.tensors])


def _settings(sampler: Any) -> Any:
    """A sampler's class and attributes, those excepted that passes change."""
    if sampler is None or not hasattr(sampler, "__dict__"):
        return sampler
    changing = ("data_source", "dataset", "epoch", "sampler")
    return [type(sampler), {k: v for k, v in vars(sampler).items() if k not in changing}]


def _generators(loader: DataLoader) -> list[torch.Generator]:
    """The random generators that a loader and its samplers have for themselves."""
    samplers = (
        loader.sampler,
        loader.batch_sampler,
        getattr(loader.batch_sampler, "sampler", None),
    )
    owned = [
        value for owner in (loader, *samplers) for value in getattr(owner, "__dict__", {}).values()
    ]
    return list({id(one): one for one in owned if isinstance(one, torch.Generator)}.values())
