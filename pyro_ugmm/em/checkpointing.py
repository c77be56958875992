"""Checkpoints of EM: of one fit alone, and one for all processes that take part in it."""

import hashlib
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from ..checks import check
from ..distributions import GaussianMixture
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
        data = _gathered(_digest_of_rows(rows, in_order))
        self._identity = identity | {
            "data": data[0] if len(data) == 1 else _digest(text.encode() for text in data),
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
        seen = _gathered(_digest([path.read_bytes()]) if path.exists() else "")
        expected = "a file that all processes see"
        check(len(set(seen)) == 1, "checkpoint", expected, f"{path}, which differs among them")
        return self._file.load(self._identity)


def _gathered(value: str) -> list[str]:
    """Returns what each process gave."""
    return current().gather("checkpoint", value)


def _digest(parts: Iterable[bytes | memoryview]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()[:32]


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def fit_identity(
    algorithm: EMAlgorithm, stopping: StoppingRule, max_iter: int, starts: GaussianMixture
) -> dict[str, str]:
    """Says what makes a fit what it is, but for its rows."""
    settings, prior = f"{algorithm!r}, {stopping!r}, max_iter={max_iter}", algorithm.prior
    if prior is not None:
        settings += f", {_digest(_bytes(t) for t in (prior.mean, prior.covariance))}"
    return {
        "kind": "expectation maximization",
        "settings": settings,
        "start": _digest_of_mixture(starts),
    }


def _digest_of_mixture(mixture: GaussianMixture) -> str:
    tensors = mixture.tensors().values()
    kind = f"{mixture.covariance.name} {mixture.missing} {mixture.means.dtype}"
    digest = _digest([kind.encode(), *(_bytes(tensor) for tensor in tensors)])
    return f"{kind} {tuple(mixture.means.shape)} {digest}"


def _digest_of_rows(rows: Rows, in_order: bool) -> str:
    """Tells data from others by all of their rows and weights."""
    digest, total, count = hashlib.sha256(), torch.zeros((), dtype=torch.long), 0
    for x, weight in rows.blocks(_BLOCK_ROWS):
        weight = torch.ones_like(x[:, 0]) if weight is None else weight.to(x)
        weighted = torch.cat([x, weight.unsqueeze(-1)], 1).cpu()
        count += len(x)
        if in_order:
            digest.update(_bytes(weighted))
        else:
            total += _mixed(weighted).sum()
    total_digest = digest.hexdigest()[:32] if in_order else f"{total.item():x}"
    return f"{count} rows {total_digest}"


def _mixed(rows: Tensor) -> Tensor:
    """Makes an integer of each row, ``(n,)``, whose sums do not depend on the rows' order."""
    words = rows.contiguous().view(torch.int32 if rows.dtype == torch.float32 else torch.int64)
    mixed = torch.zeros(len(rows), dtype=torch.long)
    for column in words.long().T:
        mixed = mixed ^ column
        for factor in _MIXERS:
            mixed = mixed * factor
            mixed = mixed ^ ((mixed >> 31) & 0x1FFFFFFFF)
    return mixed
