"""Which component each draw of a mixture comes from."""

import torch
from torch import Tensor

__all__ = ["draw_components"]


def draw_components(
    weights: Tensor, sample_shape: torch.Size, generator: torch.Generator | None
) -> Tensor:
    """Draws indices by weights ``batch_shape + (K,)``, shape ``sample_shape + batch_shape``."""
    rows, count = weights.reshape(-1, weights.shape[-1]), sample_shape.numel()
    component = rows.new_empty(len(rows), 0, dtype=torch.long)
    if count and len(rows):  # torch does not draw nothing
        component = torch.multinomial(rows, count, replacement=True, generator=generator)
    return component.T.reshape(sample_shape + weights.shape[:-1])
