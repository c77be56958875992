"""Random numbers from a seed, without a trace in the caller's generators."""

import contextlib
import threading
from collections.abc import Iterator

import torch

__all__ = ["PROCESS_LOCK", "generator_for", "seeded"]

PROCESS_LOCK = threading.RLock()
"""Held by whoever changes what all threads share: generators' seeds, Pyro's handlers."""


def generator_for(seed: int | None, device: torch.device | str) -> torch.Generator | None:
    """Returns a generator of one's own for a seed; torch's, which is ``None``, without one.

    This is the way wherever numbers are drawn by functions that take a generator: it leaves the
    process's generators alone, also while other threads draw from them.
    """
    return None if seed is None else torch.Generator(device).manual_seed(seed)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seeds the generators of the process within, if there is a seed, and restores them after.

    For what draws without taking a generator, such as Pyro's sites. One thread at a time is within.
    """
    if seed is None:
        yield
        return
    with PROCESS_LOCK, torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
