"""What training reads: batches of rows without end."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import check_integer

__all__ = ["Batches", "Batching"]


@dataclass(frozen=True)
class Batching:
    """What training wants of its data.

    Attributes:
        batch_size: the rows of a batch; ``None`` for all rows, and with a DataLoader.
        size: the number of rows of the full data, where it is not to be counted.
        device: where the model is, to which batches of a DataLoader move.
        convert: turns rows and labels into tensors for the model, or raises a ``ValueError`` if
            they do not fit it.
    """

    batch_size: int | None
    size: int | None
    device: torch.device
    convert: Callable[..., tuple[Tensor, ...]]

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            object.__setattr__(self, "batch_size", check_integer("batch_size", self.batch_size))


class Batches(ABC):
    """Batches of rows without end, whose place in the data can be kept and found again."""

    n_rows: int
    """The number of rows of the full data."""

    n_own: float | None
    """How many of them these batches give; None where there is no telling."""

    share = 1.0
    """What a loss of the full data, estimated from these batches, counts for."""

    @abstractmethod
    def first_rows(self, count: int) -> tuple[Tensor, ...]:
        """Returns some rows, for a model to be set up with: ``count``, or fewer."""

    @abstractmethod
    def next(self) -> tuple[Tensor, ...]:
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

    @abstractmethod
    def check_resumable(self) -> None:
        """Checks that a run can be taken up again with these data."""
