"""The batches of a DataLoader."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from ..checks import check, check_integer
from .batches import Batches, Batching
from .loader_generators import LoaderGenerators
from .loader_identity import LoaderIdentity
from .reach import count_own_rows, count_rows, length_of

__all__ = ["LoaderBatches"]


class LoaderBatches(Batches):
    """The batches of a DataLoader, pass after pass, converted and checked as they come.

    Args:
        loader: the loader.
        batching: what training wants, the size where the loader does not tell it.
    """

    def __init__(self, loader: DataLoader, batching: Batching) -> None:
        self._loader, self._batching = loader, batching
        has_length = batching.size is not None or length_of(loader.dataset) is not None
        expected = "a DataLoader of a dataset with a length"
        check(has_length, "x", expected, type(loader.dataset).__name__)
        check(length_of(loader) != 0, "x", "a DataLoader of at least one batch", "none")
        size = batching.size
        self.n_rows = count_rows(loader) if size is None else check_integer("size", size)
        self.n_own = count_own_rows(loader)
        self._iterator: Iterator[Any] | None = None
        self._position = 0
        self._generators = LoaderGenerators(loader)
        self._began = self._generators.states()
        self._identity = LoaderIdentity(loader, self._generators, self._converted)

    def _converted(self, batch: Any) -> tuple[Tensor, ...]:
        parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
        got = [type(part).__name__ for part in parts]
        valid = len(parts) in (1, 2) and not any(isinstance(p, dict | str | bytes) for p in parts)
        check(valid, "x", "batches of a tensor, or of features and labels", got)
        device = self._batching.device
        moved = (part.to(device) if isinstance(part, Tensor) else part for part in parts)
        return self._batching.convert(*moved)

    def first_rows(self, count: int) -> tuple[Tensor, ...]:
        """Returns some rows of the first batch."""
        return tuple(part[:count] for part in self._converted(next(iter(self._loader))))

    def _begin(self) -> None:
        self._began, self._position = self._generators.states(), 0
        self._iterator = iter(self._loader)

    def next(self) -> tuple[Tensor, ...]:
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
        self._generators.restore(state["began"])
        if not state["position"]:
            return
        self._begin()
        assert self._iterator is not None
        for _ in range(state["position"]):
            next(self._iterator)
        self._position = state["position"]

    def check_resumable(self) -> None:
        """Checks that a run can be taken up again with these data."""
        self._identity.check_resumable()

    def fingerprint(self) -> str:
        """Tells these data from others."""
        return self._identity.fingerprint(self.n_rows)
