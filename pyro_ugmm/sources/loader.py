"""Rows that a DataLoader gives."""

from typing import Any

from torch.utils.data import DataLoader

from ..checks import check
from .batches import Batches, Batching
from .dataset import check_labels_within
from .loader_batches import LoaderBatches
from .stream import StreamSource

__all__ = ["LoaderSource"]


class LoaderSource(StreamSource):
    """A DataLoader: of blocks and their weights to EM, of rows and their labels to training."""

    @staticmethod
    def takes(x: Any) -> bool:
        """Whether it is a DataLoader."""
        return isinstance(x, DataLoader)

    def batches(self, y: Any, batching: Batching) -> Batches:
        """The loader's own batches."""
        check_labels_within(y)
        expected, got = "None, as the DataLoader has its own", batching.batch_size
        check(got is None, "batch_size", expected, got)
        return LoaderBatches(self._x, batching)
