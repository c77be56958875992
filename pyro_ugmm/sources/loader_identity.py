"""What tells a DataLoader's data and sampling from others, and whether passes can be repeated."""

import itertools
from collections.abc import Callable
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

from ..checks import check
from ..fingerprints import Fingerprint, fingerprint, is_of_library
from ..random_states import seed_everything
from .loader_generators import LoaderGenerators
from .reach import length_of

__all__ = ["LoaderIdentity"]

_ROWS_READ, _ROWS_READ_AGAIN, _ROWS_AT_ONCE = 65_536, 64, 512
_BATCHES_ASKED = 64


class LoaderIdentity:
    """Looks at a loader's samplers and rows, and leaves all generators as they were.

    Args:
        loader: the loader.
        generators: what its passes draw from.
        convert: turns a batch into rows.
    """

    def __init__(
        self,
        loader: DataLoader,
        generators: LoaderGenerators,
        convert: Callable[[Any], tuple[Tensor, ...]],
    ) -> None:
        self._loader, self._generators, self._convert = loader, generators, convert

    def check_resumable(self) -> None:
        """Checks that passes are the same once the generators are."""
        expected = "a DataLoader without persistent_workers, whose draws cannot be taken up again"
        check(not self._loader.persistent_workers, "checkpoint", expected, "one with them")
        expected = (
            "rows in an order of torch's, NumPy's or Python's own generator, or of the loader's"
        )
        got = "orders that differ from pass to pass, though the generators do not"
        check(self._order() == self._order(), "checkpoint", expected, got)

    def _order(self) -> list[str]:
        """What the samplers of one's own ask for first, from where the generators are."""
        loader = self._loader
        outer: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
        samplers = outer, getattr(outer, "sampler", None)
        if all(one is None or is_of_library(type(one)) for one in samplers):
            return []
        with self._generators.kept():
            return [fingerprint(indices) for indices in itertools.islice(outer, _BATCHES_ASKED)]

    def fingerprint(self, n_rows: int) -> str:
        """Tells the data, of so many rows, from others."""
        loader = self._loader
        sampling = [
            loader.batch_size,
            loader.drop_last,
            loader.num_workers,
            _settings(loader.sampler),
            _settings(loader.batch_sampler),
            self._generators.own,
            loader.collate_fn,
        ]
        said = f"{n_rows} rows of a DataLoader in {length_of(loader) or 'endless'} batches"
        return f"{said}, sampling {fingerprint(sampling)}, {self._rows()}"

    def _rows(self) -> str:
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
        dataset, total = self._loader.dataset, Fingerprint()
        with self._generators.kept():
            seed_everything(0)
            for at in range(0, len(which), _ROWS_AT_ONCE):
                rows = [dataset[i] for i in which[at : at + _ROWS_AT_ONCE]]
                for batch in [rows] if self._loader.batch_sampler else rows:
                    total.add(self._convert(self._loader.collate_fn(batch)))
        return str(total)


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
