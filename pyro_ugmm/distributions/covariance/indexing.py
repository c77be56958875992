"""Rows that are each of one of several components."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["map_by_index"]


def map_by_index(
    function: Callable[[Tensor, int], Tensor], rows: Tensor, index: Tensor, count: int
) -> Tensor:
    """Applies ``function(rows, i)`` to the rows ``(n, D)`` whose index is i, for each i."""
    order = index.argsort()
    counts = index.bincount(minlength=count).tolist()
    parts = [function(part, i) for i, part in enumerate(rows[order].split(counts))]
    return torch.cat(parts)[order.argsort()]
