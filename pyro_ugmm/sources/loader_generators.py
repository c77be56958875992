"""The random generators that the passes of a DataLoader draw from."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from ..random_states import random_states, restore_random_states

__all__ = ["LoaderGenerators"]


class LoaderGenerators:
    """The process's generators, and those that a loader and its samplers have for themselves."""

    def __init__(self, loader: DataLoader) -> None:
        batches = loader.batch_sampler
        owners = loader, loader.sampler, batches, getattr(batches, "sampler", None)
        held = [value for owner in owners for value in getattr(owner, "__dict__", {}).values()]
        generators = {id(one): one for one in held if isinstance(one, torch.Generator)}
        self.own = list(generators.values())

    def states(self, *, on_gpu: bool = False) -> dict[str, Any]:
        """Returns the states, as tensors and numbers."""
        own = [generator.get_state() for generator in self.own]
        return {"process": random_states(on_gpu=on_gpu), "own": own}

    def restore(self, states: dict[str, Any]) -> None:
        """Takes over what :meth:`states` returned."""
        restore_random_states(states["process"])
        for generator, state in zip(self.own, states["own"], strict=True):
            generator.set_state(state)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Restores the generators on the way out."""
        before = self.states(on_gpu=torch.cuda.is_initialized())
        try:
            yield
        finally:
            self.restore(before)
