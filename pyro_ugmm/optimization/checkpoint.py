"""Checkpoints of a run: whole or not there, and of one run alone."""

import io
import os
from pathlib import Path
from typing import Any

import torch

from ..checks import check, check_integer
from ..files import write_atomically

__all__ = ["Checkpoint"]

_FORMAT = "pyro_ugmm checkpoint 2"


class Checkpoint:
    """A file that holds the last state of a run.

    The file is PyTorch's, of tensors, numbers and strings alone: loading it runs no code.

    Args:
        path: the file.
        every: the steps from one writing to the next.

    Raises:
        ValueError: if ``every`` is not a positive integer, or there is no such folder.
    """

    def __init__(self, path: str | os.PathLike, every: int) -> None:
        check_integer("checkpoint_every", every)
        self.path, self.every = Path(path), every
        folder = self.path.resolve().parent
        check(folder.is_dir(), "checkpoint", "a file in a folder that exists", str(path))

    def save(self, run: dict[str, str], state: dict[str, Any]) -> None:
        """Replaces the file.

        Args:
            run: what tells this run from others.
            state: of the run.
        """
        buffer = io.BytesIO()
        torch.save({"format": _FORMAT, "run": run, "state": state}, buffer)
        write_atomically(self.path, buffer.getvalue())

    def load(self, run: dict[str, str]) -> dict[str, Any] | None:
        """Returns the state in the file, or None if there is no file.

        Raises:
            ValueError: if the file is damaged, or of another run; it is left as it is.
        """
        if not self.path.exists():
            return None
        remedy = "give another path, or delete the file to begin anew"
        try:
            contents = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            words = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"checkpoint: expected a file that a run wrote, got {self.path}, which cannot be "
                f"read ({words[:200]}); {remedy}"
            ) from error
        is_ours = isinstance(contents, dict) and contents.get("format") == _FORMAT
        check(is_ours, "checkpoint", "a file that a run wrote", f"{self.path}; {remedy}")
        for name, value in run.items():
            found = contents["run"].get(name)
            expected = f"one of this run, whose {name} is {value}"
            check(found == value, "checkpoint", expected, f"{self.path} with {found}; {remedy}")
        return contents["state"]
