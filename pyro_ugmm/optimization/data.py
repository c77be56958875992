"""What a user gives as data, as batches."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ..checks import check, check_integer
from .batches import Batches, Rows, TensorBatches
from .loaders import LoaderBatches
from .reach import length_of

__all__ = ["make_batches"]


def make_batches(
    x: Any,
    y: Any,
    batch_size: int | None,
    size: int | None,
    device: torch.device,
    convert: Callable[..., Rows],
) -> Batches:
    """Makes batches of what a user gives as data.

    Args:
        x: rows in whatever holds them; a dataset or a DataLoader, of rows or of pairs with labels.
        y: labels, with rows.
        batch_size: the rows of a batch; None for all rows, read once, and with a DataLoader.
        size: the number of rows of the full data, where it is not to be counted.
        device: where the model is, to which batches of a DataLoader move.
        convert: turns rows and labels into tensors for the model, or raises a ``ValueError`` if
            they do not fit it.
    """
    if batch_size is not None:
        batch_size = check_integer("batch_size", batch_size)
    if not isinstance(x, Dataset | DataLoader):
        return TensorBatches(convert(x, *(() if y is None else (y,))), batch_size, size)
    got = type(y).__name__
    check(y is None, "y", "labels within x, as x is a dataset or DataLoader", got)
    if isinstance(x, DataLoader):
        check(batch_size is None, "batch_size", "None, as the DataLoader has its own", batch_size)
        return LoaderBatches(x, size, device, convert)
    n_rows = length_of(x)
    check(n_rows is not None, "x", "a dataset with a length", type(x).__name__)
    check(n_rows, "x", "a dataset with at least one row", "none")
    assert n_rows is not None
    if batch_size is None or batch_size >= n_rows:
        whole = LoaderBatches(DataLoader(x, batch_size=n_rows), None, device, convert)
        return TensorBatches(whole.next(), None, size)
    shuffle = None if isinstance(x, IterableDataset) else True
    loader = DataLoader(x, batch_size=batch_size, shuffle=shuffle, drop_last=True)
    size = n_rows if size is None else check_integer("size", size, n_rows)
    return LoaderBatches(loader, size, device, convert)
