"""What a model wants to know once it was fitted."""

from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["NotesFit"]


@runtime_checkable
class NotesFit(Protocol):
    """A model that takes note of rows, after it was fitted to them; others are told nothing."""

    def note_fit(self, *rows: Tensor) -> None:
        """Takes note of what rows are like within the model."""
