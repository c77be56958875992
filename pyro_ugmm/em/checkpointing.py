"""Checkpoints of EM: of one fit alone, and one for all processes that take part in it."""

import os
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from ..checks import check
from ..distributions import GaussianMixture
from ..fingerprints import Fingerprint, fingerprint
from ..processes import current
from .algorithm import EMAlgorithm
from .rows import Rows
from .stopping import StoppingRule

__all__ = ["EMCheckpoint", "fit_identity"]

_BLOCK_ROWS = 1 << 16
_MIXERS = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)


class EMCheckpoint:
    """The file that holds where a fit stands, which the first process writes.

    Args:
        path: the file, which all processes have to see.
        every: the steps from one writing to the next.
        identity: what tells the fit from others, as :func:`fit_identity` says.
        rows: the data of this process.
        in_order: whether each reading of the rows gives them in the same order.

    Raises:
        ValueError: if ``every`` is not a positive integer, there is no such folder, or the
            processes do not see the same file.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        every: int,
        identity: dict[str, str],
        rows: Rows,
        in_order: bool,
    ) -> None:
        self._file = Checkpoint(path, every)
        self.every = self._file.every
        data = _gathered(_identity_of_rows(rows, in_order))
        self._identity = identity | {
            "data": data[0] if len(data) == 1 else fingerprint(data),
            "processes": str(len(data)),
        }
        self._is_first = current().rank == 0

    def save(self, state: dict[str, Any]) -> None:
        """Replaces the file."""
        if self._is_first:
            self._file.save(self._identity, state)

    def load(self) -> dict[str, Any] | None:
        """Returns the state in the file, or ``None`` if there is no file.

        Raises:
            ValueError: if the file is damaged or of another fit, or processes see others.
        """
        path = self._file.path
        seen = _gathered(fingerprint(path.read_bytes()) if path.exists() else "")
        expected = "a file that all processes see"
        check(len(set(seen)) == 1, "checkpoint", expected, f"{path}, which differs among them")
        return self._file.load(self._identity)


def _gathered(value: str) -> list[str]:
    """Returns what each process gave."""
    return current().gather("checkpoint", value)


def fit_identity(
    algorithm: EMAlgorithm, stopping: StoppingRule, max_iter: int, starts: GaussianMixture
) -> dict[str, str]:
    """Says what makes a fit what it is, but for its rows."""
    shown = f"{algorithm!r}, {stopping!r}, max_iter={max_iter}"
    kind = f"{starts.covariance.name} {starts.missing} {starts.means.dtype}"
    start = f"{kind} {tuple(starts.means.shape)} {fingerprint(starts.tensors())}"
    return {
        "kind": "expectation maximization",
        "settings": f"{shown} {fingerprint(algorithm, stopping)}",
        "start": start,
    }


def _identity_of_rows(rows: Rows, in_order: bool) -> str:
    """Tells data from others by all of their rows and weights."""
    in_turn, total, count = Fingerprint(), torch.zeros((), dtype=torch.long, device="cpu"), 0
    for x, weight in rows.blocks(_BLOCK_ROWS):
        weight = torch.ones_like(x[:, 0]) if weight is None else weight.to(x)
        weighted = torch.cat([x, weight.unsqueeze(-1)], 1).cpu()
        count += len(x)
        if in_order:
            in_turn.add(weighted)
        else:
            total += _mixed(weighted).sum()
    known = f" {rows.known.fingerprint()}" if rows.known else ""
    return f"{count} rows {in_turn if in_order else format(total.item(), 'x')}{known}"


def _mixed(rows: Tensor) -> Tensor:
    """Makes an integer of each row, ``(n,)``, whose sums do not depend on the rows' order."""
    words = rows.contiguous().view(torch.int32 if rows.dtype == torch.float32 else torch.int64)
    mixed = torch.zeros(len(rows), dtype=torch.long, device=rows.device)
    for column in words.long().T:
        mixed = mixed ^ column
        for factor in _MIXERS:
            mixed = mixed * factor
            mixed = mixed ^ ((mixed >> 31) & 0x1FFFFFFFF)
    return mixed
