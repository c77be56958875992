"""Draws of a mixture: which component each comes from, and where it falls."""

import torch
from torch import Tensor

from .covariance import Covariance

__all__ = ["draw_components", "draw_rows"]


def draw_components(
    weights: Tensor, sample_shape: torch.Size, generator: torch.Generator | None
) -> Tensor:
    """Draws indices by weights ``batch_shape + (K,)``, shape ``sample_shape + batch_shape``."""
    rows, count = weights.reshape(-1, weights.shape[-1]), sample_shape.numel()
    component = rows.new_empty(len(rows), 0, dtype=torch.long)
    if count and len(rows):  # torch does not draw nothing
        component = torch.multinomial(rows, count, replacement=True, generator=generator)
    return component.T.reshape(sample_shape + weights.shape[:-1])


def draw_rows(
    means: Tensor, covariance: Covariance, component: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Draws a row of each component ``sample_shape + batch_shape``, from means ``batch_shape +
    (K, D)``.
    """
    n_components, n_features = means.shape[-2:]
    at = component[..., None, None].expand(*component.shape, 1, n_features)
    mean = means.expand(*component.shape, n_components, n_features).gather(-2, at).squeeze(-2)
    noise = torch.empty(component.numel(), n_features, dtype=mean.dtype, device=mean.device)
    index = covariance.place(component, n_components)
    noise = covariance.color(noise.normal_(generator=generator), index)
    return mean + noise.reshape(mean.shape)
