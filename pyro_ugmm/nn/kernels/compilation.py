"""The layer's library in C: compiled where it runs, kept, and loaded if it is what was kept.

A library runs in the process that loads it, so only one of the user's own making is loaded: from a
folder and a file that nobody else may write, and whole, which its name tells by a hash of what is
in it. Where that cannot be had, it is made for the process alone. What is loaded is a copy, out of
reach of whatever happens to the file while the process runs.
"""

import contextlib
import ctypes
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["library"]

_NAMES = ("mixture_layer.c", "mixture_layer.inc", "mixture_layer_narrow.inc")
_SOURCES = [Path(__file__).with_name(name) for name in _NAMES]
_KINDS = [(done, real) for done in ("forward", "backward") for real in ("float", "double")]
_SYMBOLS = [f"mixture_layer_{done}_{real}" for done, real in _KINDS]
_FLAGS = ["-O3", "-march=native", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math"]
_FLAGS += ["-ffp-contract=fast"]
# Each is tried until one compiles: gcc's loops are vectorized only without this optimization.
_VARIANTS = [["-fopenmp", "-fno-tree-pre"], ["-fopenmp"], []]
_SECONDS = 120
_NO_COMPILER = "there is no C compiler (cc or gcc, or the one that CC names)"
_PARTIAL = "compiling-"

_lock = threading.Lock()
_found: list[tuple[Any, str]] = []


def library() -> tuple[Any, str]:
    """Returns the library, or nothing and why there is none, of which the first call warns."""
    if _found:
        return _found[0]
    with _lock:  # other threads wait for the first
        is_first = not _found
        if is_first:
            _found.append(_load())
    found, failure = _found[0]
    if is_first and failure and sys.platform != "win32":
        warnings.warn(f"large layers will be slower on the CPU: {failure}", stacklevel=2)
    return found, failure


if hasattr(os, "register_at_fork"):  # a thread that holds it is not there in a child
    os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # type: ignore[attr-defined]


def _load() -> tuple[Any, str]:
    if sys.platform == "win32":
        return None, _NO_COMPILER
    compiler, failure = _compiler()
    if failure:
        return None, failure
    try:
        key = _key(compiler)
        with tempfile.TemporaryDirectory(prefix="pyro_ugmm-") as name:
            private, cache = Path(name), _cache()
            kept = None if cache is None else _kept(cache, key, private)
            if kept is not None:
                return kept, ""
            return _compile(compiler, cache, key, private)
    except OSError as error:
        return None, f"the compiled library cannot be kept: {error}"


def _compiler() -> tuple[list[str], str]:
    """Returns the command of the C compiler, or why there is none."""
    named = os.environ.get("CC", "")
    try:
        command = [part for part in shlex.split(named) if part]
    except ValueError as error:
        return [], f"CC={named!r} names no compiler: {error}"
    command = command or [path for path in (shutil.which("cc"), shutil.which("gcc")) if path][:1]
    return command, "" if command else _NO_COMPILER


def _processor() -> str:
    """What ``-march=native`` depends on, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    found = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return f"{sysconfig.get_platform()} {sorted(set(found))}"


def _key(compiler: list[str]) -> str:
    """Tells libraries of one source, processor and compiler from others."""
    made_of = [path.read_text() for path in _SOURCES] + [_processor(), str(compiler)]
    return hashlib.sha256("".join(made_of).encode(errors="surrogateescape")).hexdigest()[:16]


def _cache() -> Path | None:
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


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _kept(folder: Path, key: str, private: Path) -> Any:
    """Loads a library that is kept, if there is one, ours and undamaged."""
    for path in folder.glob(f"mixture_layer-{key}-*.so"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and _is_ours(status):
                content = path.read_bytes()
                if _hash(content) == path.stem.rpartition("-")[2]:
                    return _open(path, content, private)
    return None


def _open(path: Path, content: bytes, private: Path) -> Any:
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
    missing = [name for name in _SYMBOLS if not hasattr(opened, name)]
    if missing:
        raise OSError(f"{path.name}: no function {missing[0]}")
    return opened


def _compile(compiler: list[str], cache: Path | None, key: str, private: Path) -> tuple[Any, str]:
    """Compiles and loads the library, and keeps it where that can be.

    It is seen whole or not at all, by however many processes at once.
    """
    with _work(cache, private) as work:
        path = work / "mixture_layer.so"
        failure = _run(compiler, path)
        if failure:
            return None, failure
        try:
            content = path.read_bytes()
            opened = _open(path, content, private)
        except OSError as error:
            return None, f"{shlex.join(compiler)} made no library that loads: {error}"
        if cache is not None and work.parent == cache:
            path.chmod(0o700)
            path.replace(cache / f"mixture_layer-{key}-{_hash(content)}.so")
        return opened, ""


@contextlib.contextmanager
def _work(cache: Path | None, private: Path) -> Iterator[Path]:
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
            if time.time() - path.stat().st_mtime > 10 * _SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _run(compiler: list[str], path: Path) -> str:
    """Compiles to a file; returns what went wrong."""
    said = ""
    for variant in _VARIANTS:
        command = [*compiler, *_FLAGS, *variant, str(_SOURCES[0]), "-o", str(path), "-lm"]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{shlex.join(compiler)} failed: {error}"
        if done.returncode == 0:
            return "" if path.exists() else f"{shlex.join(compiler)} wrote no library"
        said = done.stderr.strip()
    return f"{shlex.join(compiler)} failed: {said[:500]}"
