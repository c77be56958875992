"""Interrupts of the keyboard that a callee may keep to itself."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["noted_interrupts"]


@contextlib.contextmanager
def noted_interrupts() -> Iterator[list[int]]:
    """Notes interrupts in a list, and raises them as ever.

    What trains or samples within returns what it has when it is interrupted, and then the caller
    would go on.
    """
    noted: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield noted
        return

    def note(number: int, frame: Any) -> None:
        noted.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
