"""Some of the rows, drawn at random where they are many, for a start."""

import torch
from torch import Tensor

from ..accumulation import double
from ..processes import Processes, together
from ..randomness import generator_for
from .rows import Rows

__all__ = ["gather_rows", "sample_rows"]

MOST_ROWS = 50_000


def sample_rows(
    rows: Rows, most: int | None, seed: int | None
) -> tuple[Tensor, Tensor, Tensor, torch.Generator | None]:
    """Returns all rows, or as many drawn at random, their weights, keys and the generator used.

    Those of the largest keys, which are random numbers, are drawn.
    """
    blocks: list[tuple[Tensor, Tensor, Tensor]] = []
    generator, count = None, 0
    for x, weight in rows.blocks(1 << 16):
        if generator is None:
            generator = generator_for(seed, x.device)
        weight = double(torch.ones_like(x[:, 0]) if weight is None else weight)
        key = torch.rand(len(x), device=x.device, generator=generator, dtype=torch.float32)
        blocks.append((x, weight, key))
        count += len(x)
        if most is not None and count > most:
            blocks, count = [_largest(*_joined(blocks), most)], most
    if not blocks:  # all rows are with other processes
        x = rows.like.flatten(0, -2)[:0]
        blocks = [(x, double(x[:, 0]), x[:, 0].float())]
    return *_joined(blocks), generator


def _joined(blocks: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    x, weight, key = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return x, weight, key


def _largest(x: Tensor, weight: Tensor, key: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of the largest keys, in their order."""
    at = key.topk(min(most, len(key))).indices.sort().values
    return x[at], weight[at.to(weight.device)], key[at]


def gather_rows(
    processes: Processes, rows: Rows, seed: int | None
) -> tuple[tuple[Tensor, Tensor], torch.Generator | None]:
    """Returns all rows of all processes, or as many drawn at random, their weights and a generator.

    The first process gets them all, as if it had been alone.
    """
    mine = None if seed is None else seed + processes.rank
    x, weight, key, generator = sample_rows(rows, MOST_ROWS, mine)
    if processes.size == 1:
        return (x, weight), generator
    keys = torch.cat(processes.gather("keys", key.cpu()))
    least = keys.topk(MOST_ROWS).values[-1] if len(keys) > MOST_ROWS else -1
    among = key.cpu() >= least
    parts = processes.gather("sample", (x.cpu()[among], weight.cpu()[among]))
    if processes.rank > 0:
        return (x, weight), None
    x, weight = (torch.cat(part).to(rows.like.device) for part in zip(*parts, strict=True))
    with together(False):
        alone = Rows(x, None, weight, rows.missing)
        x, weight, _, generator = sample_rows(alone, MOST_ROWS, seed)
    return (x, weight), generator
