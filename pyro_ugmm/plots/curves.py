"""Curves: where they are evaluated, the bands of many, densities of draws, bins of data."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .style import POSTERIOR

__all__ = ["axis_over", "bin_edges", "draw_bands", "draws_density", "smoothed"]

_BANDS = ((0.9, 0.22), (0.5, 0.4))  # probability and opacity
_EVEN = 400
_OFFSETS = (-4, -3, -2.5, -2, -1.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 4)
_MOST_READ = 100_000
_LEAST_BINS, _MOST_BINS, _LATTICE = 8, 80, 100
_KDE_POINTS, _KDE_REACH, _MOST_DRAWS = 512, 4, 20_000
_QUARTER = 0.6373  # the narrowest interval that holds a quarter of a standard normal


def axis_over(low: float, high: float, loc: Tensor, scale: Tensor, most: int = 2000) -> Tensor:
    """Values over a range, even ones and more where components are, in order, shape ``(G,)``.

    Args:
        low: the least.
        high: the largest.
        loc: where components are, any shape; of many draws, of all.
        scale: how wide they are, of the same shape.
        most: of the values that are added.
    """
    even = torch.linspace(low, high, _EVEN, dtype=loc.dtype, device=loc.device)
    offsets = torch.tensor(_OFFSETS, dtype=loc.dtype, device=loc.device)
    around = (loc.reshape(-1, 1) + scale.reshape(-1, 1) * offsets).flatten()
    around = around[(around > low) & (around < high)]
    around = around[:: -(-len(around) // _MOST_READ) or 1]
    if len(around) > most:
        around = around.sort().values[torch.linspace(0, len(around) - 1, most).long()]
    return torch.cat([even, around]).unique()


def draw_bands(
    ax: Any, x: Tensor, draws: Tensor, label: str, width: Tensor | float | None = None
) -> None:
    """Draws where most of some curves ``(S, n)`` lie over ``x``, shape ``(n,)``.

    Args:
        ax: the axes.
        x: in order.
        draws: the curves.
        label: of a band, with a place for its probability.
        width: by which the bands are smoothed, since quantiles of few curves are jagged.
    """
    for probability, opacity in _BANDS:
        levels = torch.tensor([(1 - probability) / 2, (1 + probability) / 2])
        ends = draws.quantile(levels.to(draws), 0)
        ends = ends if width is None else smoothed(x, ends, width).clamp(min=0)
        style = {"color": POSTERIOR, "alpha": opacity, "linewidth": 0}
        ax.fill_between(x, *ends, label=label.format(f"{probability:.0%}"), **style)


def smoothed(x: Tensor, curves: Tensor, width: Tensor | float) -> Tensor:
    """Curves ``(..., n)`` over ``x`` without what is narrower than ``width``.

    At each point it is the parabola that fits best with normal weights, which leaves peaks as high
    as they are.
    """
    z = (x - x.unsqueeze(-1)) / width  # (n, n)
    spacing = torch.gradient(x)[0] if len(x) > 1 else torch.ones_like(x)
    weights = (-0.5 * z.square()).exp() * spacing
    powers = torch.stack([torch.ones_like(z), z, z.square()], -1)
    moments = torch.einsum("ij,ija,ijb->iab", weights, powers, powers)
    identity = torch.eye(3, dtype=x.dtype, device=x.device)
    moments = moments + 1e-9 * moments[:, :1, :1] * identity
    sums = torch.einsum("ij,ija,...j->...ia", weights, powers, curves)
    return torch.linalg.solve(moments, sums.unsqueeze(-1))[..., 0, 0]


def draws_density(
    draws: np.ndarray, least: float | None = None, most: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A kernel estimate of the density of draws ``(S,)``, down to where it is none.

    Its width goes by the narrowest interval that holds a quarter of the draws, so that several
    modes stay apart.

    Args:
        draws: not all the same.
        least: a bound that values have, at which the density is reflected.
        most: another.

    Returns:
        Values in order, and the density there.
    """
    draws = np.sort(draws)[:: -(-len(draws) // _MOST_DRAWS)]
    n = len(draws)
    width = 1.06 * _spread(draws) * n**-0.2
    low, high = draws[0] - _KDE_REACH * width, draws[-1] + _KDE_REACH * width
    low = low if least is None else max(low, least)
    high = high if most is None else min(high, most)
    kernels = [draws]
    kernels += [] if least is None else [2 * least - draws]
    kernels += [] if most is None else [2 * most - draws]
    centers, values = np.concatenate(kernels), np.linspace(low, high, _KDE_POINTS)
    heights = np.zeros(_KDE_POINTS)
    for part in np.array_split(centers, -(-len(centers) // 1000)):
        heights += np.exp(-0.5 * ((values[:, None] - part) / width) ** 2).sum(1)
    return values, heights / (n * width * np.sqrt(2 * np.pi))


def _spread(numbers: np.ndarray) -> float:
    """The standard deviation of a normal whose narrowest quarter is that of numbers in order."""
    quarter = max(1, len(numbers) // 4)
    narrowest = float((numbers[quarter:] - numbers[:-quarter]).min()) / _QUARTER
    return min(narrowest or np.inf, float(numbers.std()))


def bin_edges(values: Tensor) -> np.ndarray:
    """Edges of bins for a histogram of finite values ``(n,)``.

    They are narrow enough for the narrowest cluster. Values that were rounded, such as lengths to a
    millimeter or gray values, have bins of a whole number of steps, each value in the middle of its
    step.
    """
    rows = np.sort(values.detach().cpu().double().numpy())
    numbers = np.unique(rows)
    low, high = float(numbers[0]), float(numbers[-1])
    if low == high:
        reach = 0.5 * (abs(low) or 1.0)
        return np.array([low - reach, low + reach])
    wanted = 2 * _spread(rows) * len(rows) ** (-1 / 3)
    count = float(np.clip((high - low) / wanted, _LEAST_BINS, _MOST_BINS))
    width, step = (high - low) / count, np.diff(numbers).min()
    places = (numbers - low) / step
    is_lattice = (high - low) / step <= 10 * _LATTICE and np.abs(
        places - places.round()
    ).max() < 0.05
    if is_lattice and width < _LATTICE * step:
        steps = max(1, round(width / step))
        count = round((high - low) / step) // steps + 1
        return low - step / 2 + steps * step * np.arange(count + 1)
    return np.linspace(low, high, round(count) + 1)
