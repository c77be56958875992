"""Which rows are more probably of a background than of a component."""

import torch
from torch import Tensor

from ..distributions import BackgroundMixture
from .background import Background
from .rows import Rows

__all__ = ["outliers"]

_BLOCK_ROWS = 1 << 16


def outliers(rows: Rows, background: Background, whole: BackgroundMixture) -> Tensor:
    """Returns their numbers, given the background of rows and the mixture beside it."""
    parts, at = [], 0
    for x, _ in rows.blocks(_BLOCK_ROWS):
        part = slice(at, at + len(x))
        noise = rows.known.some(part).noise
        mixture = whole.mixture if noise is None else whole.mixture.convolve(noise)
        gaussian = torch.log1p(-whole.weight) + mixture.log_prob(x)
        parts.append(whole.weight.log() + background.log_density[part] > gaussian)
        at += len(x)
    return torch.cat(parts).nonzero()[:, 0] if parts else torch.empty(0, dtype=torch.long)
