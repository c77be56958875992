"""Files that are either whole or not there."""

import contextlib
import errno
import fcntl
import glob
import os
import secrets
from pathlib import Path

from .checks import check

__all__ = ["target_of", "write_atomically"]


def target_of(name: str, path: str | os.PathLike) -> Path:
    """Returns the file that a path leads to, through links, whether it is there or not.

    Args:
        name: what the caller calls the path.
        path: the path.

    Raises:
        ValueError: if there is something else than a file, or no such folder.
    """
    is_path = isinstance(path, str | os.PathLike)
    check(is_path, name, "a path", type(path).__name__)
    try:
        os.stat(path)
    except OSError as error:
        is_loop = error.errno == errno.ELOOP
        check(not is_loop, name, "a file", f"{path}, whose links lead in a circle")
    target = Path(os.fsdecode(path)).resolve()
    check(not target.is_dir(), name, "a file", f"the folder {path}")
    check(not target.exists() or target.is_file(), name, "a file", f"{path}, which is none")
    check(target.parent.is_dir(), name, "a file in a folder that exists", str(path))
    return target


def write_atomically(path: str | os.PathLike, contents: bytes, name: str = "path") -> None:
    """Writes ``contents`` beside ``path`` and moves them there, so that no half file is seen.

    A link is followed. What writers that were killed left beside the file is removed.

    Args:
        path: the file.
        contents: of the file.
        name: what the caller calls the path.

    Raises:
        ValueError: if the path is no file's.
    """
    target = target_of(name, path)
    _sweep(target)
    is_written = False
    while not is_written:  # another writer may take the new file for one left behind
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        is_written = _write(temporary, target, contents)


def _write(temporary: Path, target: Path, contents: bytes) -> bool:
    """Writes a file that is locked meanwhile, and moves it; returns False if it was swept.

    An interrupt, wherever it strikes, leaves nothing.
    """
    try:
        with temporary.open("xb") as file:
            with contextlib.suppress(OSError):  # some file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if not temporary.exists():
                return False
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return True


def _sweep(target: Path) -> None:
    """Removes what killed writers left: files beside the target that nobody holds a lock of."""
    left = f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}.part"
    for file in target.parent.glob(left):
        with contextlib.suppress(OSError), file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()
