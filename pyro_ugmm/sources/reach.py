"""How many rows the passes of a DataLoader go over."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from ..checks import check

__all__ = ["count_own_rows", "count_rows", "length_of"]


def length_of(value: Any) -> int | None:
    """The length of what may have none."""
    try:
        return len(value)
    except (TypeError, NotImplementedError):
        return None


def count_rows(loader: DataLoader) -> int:
    """Counts the different rows that passes can reach: those of the full data.

    They are the data set's, or those of them that a sampler takes: the subset of a
    ``SubsetRandomSampler`` or of a list of indices, the rows of positive weight of a
    ``WeightedRandomSampler``, and, in a fixed order with ``drop_last``, those before the batch that
    is left out. How many a sampler draws for a pass does not matter. A ``DistributedSampler``
    shares the whole data set out.

    Raises:
        ValueError: if there is no telling, as with a sampler of one's own whose length is not the
            data set's.
    """
    n_rows = _count(loader)
    who: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    if type(who) is BatchSampler:
        who = who.sampler
    kind = type(who).__name__
    expected = f"the number of rows that passes reach, which a {kind} does not tell"
    check(n_rows is not None, "size", expected, "None")
    check(n_rows, "x", "a DataLoader that reaches at least one row", "none")
    assert n_rows is not None
    return n_rows


def count_own_rows(loader: DataLoader) -> float | None:
    """Counts the rows of the full data that a process's loader brings, if there is telling.

    A ``DistributedSampler`` brings one part of the data set; of any other, all that it reaches.
    """
    n_rows = _count(loader)
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    if n_rows is None or not isinstance(sampler, DistributedSampler):
        return n_rows
    return n_rows / sampler.num_replicas


def _count(loader: DataLoader) -> int | None:
    n_rows, batches = length_of(loader.dataset), loader.batch_sampler
    if isinstance(loader.dataset, IterableDataset):
        return None if batches is None else n_rows
    if batches is None:  # the sampler yields what the data set is asked for, rows or batches
        batches = loader.sampler
    if n_rows is None:
        return None
    if type(batches) is BatchSampler:
        size = batches.batch_size if batches.drop_last else 1
        return _count_sampled(batches.sampler, n_rows, size)
    is_listed = isinstance(batches, Sequence) and not isinstance(batches, str)
    if is_listed and all(isinstance(part, Sequence | Tensor | np.ndarray) for part in batches):
        return len({int(i) % n_rows for part in batches for i in part})
    return None


def _count_sampled(sampler: Any, n_rows: int, multiple: int) -> int | None:
    """Counts the rows that a sampler reaches; of a fixed order, a multiple of so many are used."""
    count = _SAMPLED.get(type(sampler))
    if count is not None:
        return count(sampler, n_rows, multiple)
    if isinstance(sampler, Sequence | Tensor | np.ndarray):
        used = sampler[: len(sampler) - len(sampler) % multiple]
        return len({int(i) % n_rows for i in used})
    return n_rows if length_of(sampler) == n_rows else None


_SAMPLED: dict[type, Callable[[Any, int, int], int]] = {
    SequentialSampler: lambda sampler, _, multiple: len(sampler) - len(sampler) % multiple,
    RandomSampler: lambda sampler, *_: len(sampler.data_source),
    SubsetRandomSampler: lambda sampler, n, _: len({int(i) % n for i in sampler.indices}),
    WeightedRandomSampler: lambda sampler, *_: int((sampler.weights > 0).sum()),
    DistributedSampler: lambda sampler, *_: len(sampler.dataset),
}
