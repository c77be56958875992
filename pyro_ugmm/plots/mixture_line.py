"""A mixture in one dimension, over its rows."""

from typing import Any

import torch
from torch import Tensor

from ..distributions import GaussianMixture
from .curves import axis_over, bin_edges
from .style import DATA, colors

__all__ = ["draw_on_a_line"]

_MARGIN = 0.05


def draw_on_a_line(ax: Any, marginal: GaussianMixture, rows: Tensor) -> None:
    """Draws the density of one dimension and of each component, over a histogram of rows.

    Args:
        ax: the axes.
        marginal: of that dimension, on the CPU.
        rows: its values, shape ``(n,)``, of which some may be NaN.
    """
    values = rows[rows.isfinite()]
    loc = marginal.means[:, 0]
    scale = marginal.covariance.dense(marginal.n_components, 1)[:, 0, 0].sqrt()
    ends = torch.cat([values.to(loc), loc - scale, loc + scale])
    low, high = float(ends.min()), float(ends.max())
    margin = _MARGIN * (high - low) or 1.0
    grid = axis_over(low - margin, high + margin, loc, scale)
    with torch.no_grad():
        joint = torch.distributions.Normal(loc, scale).log_prob(grid.unsqueeze(-1)).exp()
        parts = marginal.weights * joint
    if len(values):
        ax.hist(values, bins=bin_edges(values), density=True, color=DATA, label="data")
    for k, color in enumerate(colors(marginal.n_components)):
        style = {"color": color, "alpha": 0.45, "linewidth": 0}
        ax.fill_between(grid, parts[:, k], label=f"component {k}", **style)
    ax.plot(grid, parts.sum(-1), color="black", linewidth=1.6, label="density")
    ax.set_ylabel("density")
