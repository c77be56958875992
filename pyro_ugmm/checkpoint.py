"""Checkpoints of a run: whole or not there, and of one run alone."""

import hashlib
import io
import os
import struct
from typing import Any

import torch
from torch import Tensor

from .checks import check, check_integer
from .files import target_of, write_atomically

__all__ = ["Checkpoint", "check_form"]

_FORMAT = "pyro_ugmm checkpoint 4"
_REMEDY = "give another path, or delete the file to begin anew"
_DIGITS = 64  # of the checksum, which is the comment at the end of the archive
_LEFT: dict[tuple[str, str], tuple[str, str]] = {}
"""By path and part, the values that this process's last run left, and those it started from."""


class Checkpoint:
    """A file that holds the last state of a run.

    The file is PyTorch's, of tensors, numbers and strings alone, so that loading it runs no code;
    a checksum of all its bytes is at its end.

    Args:
        path: the file.
        every: the steps from one writing to the next.

    Raises:
        ValueError: if ``every`` is not a positive integer, or the path is no file's.
    """

    def __init__(self, path: str | os.PathLike, every: int) -> None:
        self.every = check_integer("checkpoint_every", every)
        self.path = target_of("checkpoint", path)

    def origin(self, part: str, start: str) -> str:
        """Where a run that starts from given values had started, if one left them here before.

        Args:
            part: whose values they are.
            start: what tells them from others.
        """
        left, origin = _LEFT.get((str(self.path), part), (None, start))
        return origin if left == start else start

    def leave(self, part: str, origin: str, left: str) -> None:
        """Notes which values a run leaves, so that it can be taken up again from there."""
        _LEFT[str(self.path), part] = (left, origin)

    def save(self, run: dict[str, str], state: dict[str, Any]) -> None:
        """Replaces the file.

        Args:
            run: what tells this run from others.
            state: of the run.
        """
        buffer = io.BytesIO()
        torch.save({"format": _FORMAT, "run": run, "state": state}, buffer)
        archive = buffer.getvalue()[:-2] + struct.pack("<H", _DIGITS)
        write_atomically(self.path, archive + _checksum(archive), "checkpoint")

    def load(self, run: dict[str, str]) -> dict[str, Any] | None:
        """Returns the state in the file, or None if there is no file.

        Raises:
            ValueError: if the file is damaged, or of another run; it is left as it is.
        """
        if not self.path.exists():
            return None
        try:
            contents = self.path.read_bytes()
        except OSError as error:
            raise self.damaged(f"cannot be read ({error.strerror})") from error
        if contents[-_DIGITS:] != _checksum(contents[:-_DIGITS]):
            raise self.damaged("is none, or damaged: its checksum is wrong")
        try:
            held = torch.load(io.BytesIO(contents), map_location="cpu", weights_only=True)
            is_ours = held["format"] == _FORMAT
            theirs, state = dict(held["run"]), dict(held["state"])
        except Exception as error:
            words = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise self.damaged(f"cannot be read ({words[:200]})") from error
        if not is_ours:
            raise self.damaged(f"is of the format {held['format']!r}")
        self._check_same(run, theirs)
        return state

    def _check_same(self, run: dict[str, str], theirs: dict[str, str]) -> None:
        names = [name for name in {**run, **theirs} if run.get(name) != theirs.get(name)]
        if names:
            ours, others = (
                "; ".join(f"{name} is {one.get(name)}" for name in names) for one in (run, theirs)
            )
            expected = f"checkpoint: expected one of this run, whose {ours}"
            raise ValueError(f"{expected}, got {self.path}, whose {others}; {_REMEDY}")

    def damaged(self, what: str) -> ValueError:
        """The error that says so."""
        expected = "checkpoint: expected a file that a run wrote"
        return ValueError(f"{expected}, got {self.path}, which {what}; {_REMEDY}")


def _checksum(contents: bytes) -> bytes:
    return hashlib.sha256(contents).hexdigest().encode()


def check_form(given: Any, expected: Any, name: str) -> None:
    """Checks that a value has the types, lengths, names and shapes of another.

    Raises:
        ValueError: if it does not; it names the part.
    """
    same = isinstance(given, type(expected))
    check(same, name, type(expected).__name__, type(given).__name__)
    if isinstance(expected, dict):
        check(given.keys() == expected.keys(), name, f"{[*expected]}", f"{[*given]}")
        for key, value in expected.items():
            check_form(given[key], value, f"{name}.{key}")
    elif isinstance(expected, list):
        check(len(given) == len(expected), name, f"{len(expected)} of them", len(given))
        for i, value in enumerate(expected):
            check_form(given[i], value, f"{name}.{i}")
    elif isinstance(expected, Tensor):
        ours, theirs = ((tuple(t.shape), t.dtype) for t in (expected, given))
        check(ours == theirs, name, str(ours), str(theirs))
