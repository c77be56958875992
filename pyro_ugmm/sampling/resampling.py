"""Resampling, by which weighted particles become particles of equal weights."""

import torch
from torch import Tensor

__all__ = ["systematic"]


def systematic(log_weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draws ancestors in proportion to weights, with one uniform number for each population.

    A particle of weight :math:`w` gets :math:`N w` descendants, rounded down or up.

    Args:
        log_weights: shape ``(M, N)``, of ``M`` populations of ``N`` particles.
        generator: of random numbers.

    Returns:
        Indices into each population, shape ``(M, N)``, in ascending order.

    Source: Carpenter, Clifford and Fearnhead (1999), *Improved particle filter for nonlinear
    problems*.
    """
    n_populations, n_particles = log_weights.shape
    shares = log_weights.double().softmax(-1).cumsum(-1)
    shares = shares / shares[:, -1:]
    at = torch.rand(
        n_populations, 1, generator=generator, dtype=torch.float64, device=log_weights.device
    )
    steps = torch.arange(n_particles, dtype=torch.float64, device=log_weights.device)
    found = torch.searchsorted(shares, (steps + at) / n_particles, right=True)
    return found.clamp(max=n_particles - 1)
