"""Rows of a data set, such as torch's."""

from dataclasses import replace
from typing import Any

from torch.utils.data import DataLoader, Dataset, IterableDataset

from ..checks import check, check_integer
from .batches import Batches, Batching
from .loader_batches import LoaderBatches
from .reach import length_of
from .stream import StreamSource
from .tensor_batches import TensorBatches

__all__ = ["DatasetSource", "check_labels_within"]


def check_labels_within(y: Any) -> None:
    """Checks that no labels are given apart from data that have their own."""
    got = type(y).__name__
    check(y is None, "y", "labels within x, as x is a dataset or DataLoader", got)


class DatasetSource(StreamSource):
    """A data set of rows, or of pairs with labels; for EM, one that iterates over blocks."""

    @staticmethod
    def takes(x: Any) -> bool:
        """Whether it is a data set."""
        return isinstance(x, Dataset)

    def batches(self, y: Any, batching: Batching) -> Batches:
        """Shuffled batches; or all rows, which are read once, at every step."""
        check_labels_within(y)
        n_rows, batch_size, size = length_of(self._x), batching.batch_size, batching.size
        check(n_rows is not None, "x", "a dataset with a length", type(self._x).__name__)
        check(n_rows, "x", "a dataset with at least one row", "none")
        assert n_rows is not None
        if batch_size is None or batch_size >= n_rows:
            whole = DataLoader(self._x, batch_size=n_rows)
            rows = LoaderBatches(whole, replace(batching, size=None)).next()
            return TensorBatches(rows, None, size)
        shuffle = None if isinstance(self._x, IterableDataset) else True
        loader = DataLoader(self._x, batch_size=batch_size, shuffle=shuffle, drop_last=True)
        size = n_rows if size is None else check_integer("size", size, n_rows)
        return LoaderBatches(loader, replace(batching, size=size))
