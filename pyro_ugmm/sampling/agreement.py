"""Whether independent populations agree: R-hat over them."""

import torch
from torch import Tensor

__all__ = ["nested_r_hat"]


def nested_r_hat(values: Tensor, num_populations: int) -> Tensor:
    r"""Compares populations of particles: the nested R-hat with chains of one draw.

    .. math:: \hat R = \sqrt{1 + B / W}

    with the variance :math:`B` of the populations' means, and the mean :math:`W` of their
    variances. Of populations of N independent draws, :math:`B / W` is about :math:`1 / N`.

    Args:
        values: of particles, one population after the other, shape ``(S, ...)``.
        num_populations: of how many populations they are.

    Returns:
        One number for each quantity, the shape's rest; one where nothing varies, NaN of a single
        population.

    Source: Margossian and others (2024), *Nested R-hat: assessing the convergence of Markov chain
    Monte Carlo when running many short chains*.

    Example:
        >>> import torch
        >>> from pyro_ugmm.sampling.agreement import nested_r_hat
        >>> apart = torch.randn(400) + 3 * (torch.arange(400) >= 200)
        >>> bool(nested_r_hat(apart, 4) > 1.5)
        True
    """
    if num_populations < 2:
        return torch.full(values.shape[1:], torch.nan, dtype=torch.float64)
    grouped = values.double().unflatten(0, (num_populations, -1))
    between, within = grouped.mean(1).var(0), grouped.var(1).mean(0)
    ratio = torch.where(between == 0, 0.0, between / within)
    return (1 + ratio).sqrt()
