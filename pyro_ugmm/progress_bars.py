"""Bars that show how far long work has come, where somebody can watch them."""

import sys
from typing import Any

from tqdm.auto import tqdm
from tqdm.std import tqdm as text_bar

__all__ = ["progress_bar"]

_IS_NOTEBOOK = tqdm.__mro__[1] is not text_bar
_DELAY_SECONDS = 1


def _is_watched() -> bool:
    """Whether it is written to a terminal or a notebook; a log would be filled with bars."""
    return _IS_NOTEBOOK or (sys.stderr is not None and sys.stderr.isatty())


def progress_bar(iterable: Any = None, *, shown: bool, **options: Any) -> tqdm:
    """Tqdm's bar, after a second of work; none in a file, a pipe or a log.

    Args:
        iterable: what is gone through, if anything is.
        shown: whether the user asked for one.
        options: as tqdm takes them.
    """
    hide = not (shown and _is_watched())
    return tqdm(iterable, disable=hide, delay=_DELAY_SECONDS, **options)
