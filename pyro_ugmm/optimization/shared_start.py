"""What processes that run one descent have alike when it starts, and what they know together."""

from typing import Any

import torch
from torch import Tensor

from ..processes import current
from ..sources import Batches
from .run_identity import values_of

__all__ = ["common_seed", "rows_of_all", "share_start"]


def common_seed(seed: int | None) -> int | None:
    """Returns one seed for all processes, if there are several: the first one's."""
    if seed is not None or current().size == 1:
        return seed
    return current().from_first(int(torch.randint(1 << 62, ())))


def share_start(**parts: Any) -> None:
    """Gives a model, and a guide, the parameters and buffers that they have on the first process.

    Raises:
        ValueError: if they are of other names, shapes or dtypes there.
    """
    processes = current()
    if processes.size == 1:
        return
    named = {f"{part}.{n}": t for part, of in parts.items() for n, t in values_of(of).items()}
    processes.agree({"parameters and buffers": [*named]})
    processes.agree({name: f"{tuple(t.shape)} of {t.dtype}" for name, t in named.items()})
    processes.copy_first([*named.values()])


def rows_of_all(batches: Batches, count: int) -> tuple[Tensor, ...]:
    """Returns some rows of all processes, those of the first ones first."""
    own, processes = batches.first_rows(count), current()
    parts = processes.gather("rows", [part.cpu() for part in own])
    together = (torch.cat(of_all)[:count] for of_all in zip(*parts, strict=True))
    return tuple(rows.to(part) for rows, part in zip(together, own, strict=True))
