"""Whether independent populations agree: R-hat over them."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["agreement", "nested_r_hat"]

_MOST_COLUMNS = 1024


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


def agreement(quantities: Mapping[str, Tensor], num_populations: int) -> dict[str, float]:
    """R-hat over populations of quantities ``(S, ...)``: of each, the largest."""
    largest = {}
    for name, values in quantities.items():
        parts = values.reshape(len(values), -1).split(_MOST_COLUMNS, -1)
        found = [nested_r_hat(part, num_populations).max() for part in parts]
        largest[name] = float(torch.stack(found).max())  # which keeps what is no number
    return largest
