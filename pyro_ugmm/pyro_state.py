"""Pyro's state of the process: one thread at a time, and left as it was found."""

import contextlib
from collections.abc import Iterator

import pyro
from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK

from .randomness import PROCESS_LOCK

__all__ = ["exclusive_pyro"]


@contextlib.contextmanager
def exclusive_pyro() -> Iterator[None]:
    """Restores Pyro's handlers, plates' dimensions, parameter store and validation on the way out.

    An exception that strikes between the lines of a handler's exit, as the keyboard's does, leaves
    handlers and dimensions as they were within, and then every later run fails ("duplicate plate");
    in the exit of ``pyro.validation_enabled``, some of what it turned off.
    Parameters that a program makes within are gone after; those that were there, it sees. All
    belong to the process, so two threads within Pyro would see each other's: the second waits. The
    lock is that of seeded generators, so that no thread holds the one and waits for the other.
    """
    with PROCESS_LOCK:
        handlers, plates = list(_PYRO_STACK), list(_DIM_ALLOCATOR._stack)
        store, validated = pyro.get_param_store(), _validated()
        try:
            with store.scope(store.get_state()):
                yield
        finally:
            _PYRO_STACK[:] = handlers
            _DIM_ALLOCATOR._stack[:] = plates
            pyro.settings.set(**validated)


def _validated() -> dict[str, bool]:
    """What Pyro validates, by the names of its settings."""
    return {name: on for name, on in pyro.settings.get().items() if name.startswith("validate")}
