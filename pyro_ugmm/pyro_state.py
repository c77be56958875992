"""Pyro's state of the process: one thread at a time, and left as it was found."""

import contextlib
import threading
from collections.abc import Iterator

from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK

__all__ = ["exclusive_pyro"]

_LOCK = threading.RLock()


@contextlib.contextmanager
def exclusive_pyro() -> Iterator[None]:
    """Restores Pyro's stack of handlers and its plates' dimensions on the way out.

    An exception that strikes between the lines of a handler's exit, as the keyboard's does, leaves
    both as they were within, and then every later run fails ("duplicate plate"). They belong to the
    process, so two threads within Pyro would see each other's handlers: the second waits.
    """
    with _LOCK:
        handlers, plates = list(_PYRO_STACK), list(_DIM_ALLOCATOR._stack)
        try:
            yield
        finally:
            _PYRO_STACK[:] = handlers
            _DIM_ALLOCATOR._stack[:] = plates
