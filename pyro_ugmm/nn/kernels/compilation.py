"""The layer's library in C: compiled where it runs, kept, and loaded.

Where none of the user's own making can be kept, it is made for the process alone.
"""

import os
import shlex
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

from .compiler import NO_COMPILER, compile_to, find_compiler
from .library_files import (
    cache_folder,
    keep_library,
    kept_library,
    key_of,
    open_library,
    work_folder,
)

__all__ = ["FOUND", "library", "load_library"]

_lock = threading.Lock()
FOUND: list[tuple[Any, str]] = []
"""What :func:`library` returns, once it was called."""


def library() -> tuple[Any, str]:
    """Returns the library, or nothing and why there is none, of which the first call warns."""
    if FOUND:
        return FOUND[0]
    with _lock:  # other threads wait for the first
        is_first = not FOUND
        if is_first:
            FOUND.append(load_library())
    opened, failure = FOUND[0]
    if is_first and failure and sys.platform != "win32":
        warnings.warn(f"large layers will be slower on the CPU: {failure}", stacklevel=2)
    return opened, failure


if hasattr(os, "register_at_fork"):  # a thread that holds it is not there in a child
    os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # type: ignore[attr-defined]


def load_library() -> tuple[Any, str]:
    """Loads the library that is kept, or a new one; or says why there is none."""
    if sys.platform == "win32":
        return None, NO_COMPILER
    compiler, failure = find_compiler()
    if failure:
        return None, failure
    try:
        key = key_of(compiler)
        with tempfile.TemporaryDirectory(prefix="pyro_ugmm-") as name:
            private, cache = Path(name), cache_folder()
            kept = None if cache is None else kept_library(cache, key, private)
            if kept is not None:
                return kept, ""
            return _compile(compiler, cache, key, private)
    except OSError as error:
        return None, f"the compiled library cannot be kept: {error}"


def _compile(compiler: list[str], cache: Path | None, key: str, private: Path) -> tuple[Any, str]:
    """Compiles and loads the library, and keeps it where that can be.

    It is seen whole or not at all, by however many processes at once.
    """
    with work_folder(cache, private) as work:
        path = work / "mixture_layer.so"
        failure = compile_to(compiler, path)
        if failure:
            return None, failure
        try:
            content = path.read_bytes()
            opened = open_library(path, content, private)
        except OSError as error:
            return None, f"{shlex.join(compiler)} made no library that loads: {error}"
        if cache is not None and work.parent == cache:
            keep_library(path, content, key, cache)
        return opened, ""
