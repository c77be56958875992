"""A run's checkpoint: taken up at the start, written on the way."""

import warnings
from typing import Any, Protocol

from ..checkpoint import Checkpoint
from ..processes import Processes

__all__ = ["Resumption"]


class Resumable(Protocol):
    """A run whose state can be kept and taken over."""

    @property
    def is_done(self) -> bool:
        """Whether all steps are taken."""

    def identity(self) -> dict[str, str]:
        """What tells this run from others."""

    def state(self) -> dict[str, Any]:
        """All that the steps to come depend on, as tensors and numbers."""

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state` returned."""


class Resumption:
    """Takes up what is in a checkpoint, and writes it anew.

    Args:
        checkpoint: the file.
        descent: the run, to which the state is given.
        processes: that run it, of which the first reads and writes the file; if not this one alone.

    Raises:
        ValueError: if what is there is damaged or of another run, or the file cannot be written.
    """

    def __init__(
        self, checkpoint: Checkpoint, descent: Resumable, processes: Processes | None = None
    ) -> None:
        self._checkpoint, self._descent, self._run = checkpoint, descent, descent.identity()
        processes = processes or Processes(False)
        self._writes, self.every = processes.rank == 0, checkpoint.every
        state = processes.from_first(checkpoint.load(self._run) if self._writes else None)
        if state is not None:
            try:
                descent.load(state)
            except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
                raise checkpoint.damaged(f"is damaged ({error})") from error
        if not descent.is_done:
            self._begin()

    def _begin(self) -> None:
        """Writes the file at once, so that a full disk shows now and not after hours."""
        try:
            self._write()
        except OSError as error:
            raise ValueError(
                f"checkpoint: expected a file that can be written, got {self._checkpoint.path} "
                f"({error.strerror})"
            ) from error

    def _write(self) -> None:
        state = self._descent.state()  # to which all processes add
        if self._writes:
            self._checkpoint.save(self._run, state)

    def save(self) -> None:
        """Writes the file; warns if it cannot be written now, and leaves the one that is there."""
        try:
            self._write()
        except OSError as error:
            warnings.warn(
                f"checkpoint: {self._checkpoint.path} was not written ({error.strerror}), and is "
                "as it was before; the run goes on",
                stacklevel=2,
            )
