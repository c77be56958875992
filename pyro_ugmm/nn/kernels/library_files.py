"""The layer's library in C as a file: kept for the user alone, and loaded if it is what was kept.

A library runs in the process that loads it, so only one of the user's own making is loaded: from a
folder and a file that nobody else may write, and whole, which its name tells by a hash of what is
in it. What is loaded is a copy, out of reach of whatever happens to the file while the process
runs.
"""

import contextlib
import ctypes
import hashlib
import os
import shutil
import stat
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .compiler import SECONDS, SOURCES

__all__ = [
    "SYMBOLS",
    "cache_folder",
    "digest",
    "keep_library",
    "kept_library",
    "key_of",
    "open_library",
    "work_folder",
]

_KINDS = [(done, real) for done in ("forward", "backward") for real in ("float", "double")]
SYMBOLS = [f"mixture_layer_{done}_{real}" for done, real in _KINDS]
_SIZES = [*[ctypes.c_ssize_t] * 4, *[ctypes.c_int] * 3]  # then come pointers
_PARTIAL = "compiling-"


def _processor() -> str:
    """What ``-march=native`` depends on, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    told = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return f"{sysconfig.get_platform()} {sorted(set(told))}"


def key_of(compiler: list[str]) -> str:
    """Tells libraries of one source, processor and compiler from others."""
    made_of = [path.read_text() for path in SOURCES] + [_processor(), str(compiler)]
    return hashlib.sha256("".join(made_of).encode(errors="surrogateescape")).hexdigest()[:16]


def cache_folder() -> Path | None:
    """The folder where libraries are kept, if there is one that nobody else may write."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(named if os.path.isabs(named) else os.path.expanduser("~/.cache"))
    if not home.is_absolute():  # a user without a home
        return None
    folder = home / "pyro_ugmm"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
    except OSError:
        return None
    return folder if stat.S_ISDIR(status.st_mode) and _is_ours(status) else None


def _is_ours(status: os.stat_result) -> bool:
    """Whether a file is the user's own, and nobody else may write it."""
    is_private = not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return is_private and status.st_uid == os.geteuid()


def digest(content: bytes) -> str:
    """Tells the content of one library from others."""
    return hashlib.sha256(content).hexdigest()[:32]


def kept_library(folder: Path, key: str, private: Path) -> Any:
    """Loads a library that is kept, if there is one, ours and undamaged."""
    for path in folder.glob(f"mixture_layer-{key}-*.so"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and _is_ours(status):
                content = path.read_bytes()
                if digest(content) == path.stem.rpartition("-")[2]:
                    return open_library(path, content, private)
    return None


def keep_library(path: Path, content: bytes, key: str, cache: Path) -> None:
    """Moves a new library, of this content, to where :func:`kept_library` finds it."""
    path.chmod(0o700)
    path.replace(cache / f"mixture_layer-{key}-{digest(content)}.so")


def open_library(path: Path, content: bytes, private: Path) -> Any:
    """Loads a library, of this content, from a copy.

    Raises:
        OSError: if it is none, or lacks a function.
    """
    copy = Path(tempfile.mkdtemp(dir=private)) / path.name
    copy.write_bytes(content)
    try:
        opened = ctypes.CDLL(str(copy))
    except OSError:  # as where nothing in a temporary folder is run
        opened = ctypes.CDLL(str(path))
    for name in SYMBOLS:
        if not hasattr(opened, name):
            raise OSError(f"{path.name}: no function {name}")
        n_pointers = 10 if "backward" in name else 5
        getattr(opened, name).argtypes = [*_SIZES, *[ctypes.c_void_p] * n_pointers]
    return opened


@contextlib.contextmanager
def work_folder(cache: Path | None, private: Path) -> Iterator[Path]:
    """A new folder within the cache; or, where that can only be read, the private one."""
    made = None
    if cache is not None:
        with contextlib.suppress(OSError):
            _sweep(cache)
            made = tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=cache)
    with made or contextlib.nullcontext(str(private)) as name:
        yield Path(name)


def _sweep(folder: Path) -> None:
    """Removes what processes left that were killed while compiling."""
    for path in folder.glob(f"{_PARTIAL}*"):
        with contextlib.suppress(FileNotFoundError):  # another process was first
            if time.time() - path.stat().st_mtime > 10 * SECONDS:
                shutil.rmtree(path, ignore_errors=True)
