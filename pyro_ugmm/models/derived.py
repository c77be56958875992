"""What modules derive from their buffers, kept as long as these are the same."""

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["DerivedModule"]


def _version(tensor: torch.Tensor) -> int:
    """How often a tensor was changed in place, which inference tensors do not count."""
    return 0 if tensor.is_inference() else tensor._version


class DerivedModule(torch.nn.Module):
    """A module whose distributions depend on its buffers alone.

    They are wanted at every step of a training, and buffers change only when the module is moved
    or loaded.
    """

    _kept: tuple[Any, dict] | None = None

    def _derive(self, build: Callable[[], dict]) -> dict:
        """Returns what ``build`` returns, from the last time if no buffer changed since."""
        key = [(buffer, _version(buffer)) for buffer in self.buffers()]
        known = self._kept[0] if self._kept else []
        same = len(known) == len(key) and all(
            a is b and v == w for (a, v), (b, w) in zip(known, key, strict=True)
        )
        if not same:
            self._kept = key, build()
        assert self._kept is not None
        return dict(self._kept[1])

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_kept": None}
