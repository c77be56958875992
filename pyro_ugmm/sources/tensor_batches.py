"""The batches of tensors."""

from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_integer
from ..fingerprints import fingerprint
from .batches import Batches

__all__ = ["TensorBatches"]


class TensorBatches(Batches):
    """Shuffled passes over tensors, or all of them at every step.

    Args:
        data: what has as many rows as the first, and whatever goes with every batch of them.
        batch_size: the rows of a step; all of them if None.
        size: the number of rows of the full data, if these are a part of it.
    """

    def __init__(self, data: tuple[Tensor, ...], batch_size: int | None, size: int | None) -> None:
        lengths = [len(part) if getattr(part, "ndim", 0) else 0 for part in data]
        self._data, self._count = data, next((length for length in lengths if length), 1)
        self._are_rows = [length == self._count for length in lengths]
        self.n_rows = self._count if size is None else check_integer("size", size, self._count)
        self.n_own = self._count
        self._size = None if batch_size is None or batch_size >= self._count else batch_size
        self._order = torch.zeros(0, dtype=torch.long)

    def first_rows(self, count: int) -> tuple[Tensor, ...]:
        """Returns some rows, of the first batch if the data come in batches."""
        return self._of_rows(slice(count))

    def next(self) -> tuple[Tensor, ...]:
        """Returns the rows of the next step."""
        if self._size is None:
            return self._data
        if not len(self._order):
            # The last batch of a pass is short; it would weigh its rows more than the others.
            self._order = torch.randperm(self._count)[: self._count - self._count % self._size]
        at, self._order = self._order[: self._size], self._order[self._size :]
        return self._of_rows(at)

    def _of_rows(self, at: slice | Tensor) -> tuple[Any, ...]:
        """These rows of what has rows, and the rest as it is."""
        parts = zip(self._data, self._are_rows, strict=True)
        return tuple(_taken(part, at) if are_rows else part for part, are_rows in parts)

    def state(self) -> dict[str, Any]:
        """Returns the place, as tensors and numbers."""
        return {"order": self._order.clone()}

    def load(self, state: dict[str, Any]) -> None:
        """Goes to a place."""
        order = state["order"]
        is_one = order.dtype == torch.long and order.dim() == 1
        is_one = is_one and bool(((order >= 0) & (order < self._count)).all())
        check(is_one, "order", f"positions of {self._count} rows", "others")
        self._order = order

    def fingerprint(self) -> str:
        """Tells these data from others."""
        return f"{self.n_rows} rows {fingerprint(self._data)} by {self._size or 'all'}"

    def check_resumable(self) -> None:
        """Tensors can be: there is nothing to check."""


def _taken(rows: Tensor, at: slice | Tensor) -> Tensor:
    return rows[at.to(rows.device) if isinstance(at, Tensor) else at]
