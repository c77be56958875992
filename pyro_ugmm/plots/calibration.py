"""Ranks of truths among draws, over simulated data sets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check
from ..diagnostics import SimulatedCalibration
from ..diagnostics.uniformity import even_band, even_points
from .legends import add_legend
from .style import DATA, PRIOR, axes_pair_for, colors, label_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_calibration"]

_MOST_NAMED, _SPACE = 6, "\u00a0"  # at which no line ends


def plot_calibration(simulated: SimulatedCalibration, *, ax: Any = None) -> Sequence["Axes"]:
    """Draws how ranks are distributed, and how often intervals hold the truth, minus what is right.

    All lines of a calibrated inference stay within the band in 99 of 100 runs. To the left, those
    of what is biased low lie below zero, high above. To the right, intervals hold the truth too
    rarely where lines lie below zero, and the posterior is too narrow. The quantities that are the
    least even have a color and a name, with how many of the intervals of 50, 80 and 90 % hold the
    truth.

    Args:
        simulated: what :func:`pyro_ugmm.diagnostics.simulate_calibration` returned.
        ax: the two axes to draw in; new ones if None.

    Raises:
        ValueError: if it is something else, or has no ranks.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import SimulatedCalibration
        >>> from pyro_ugmm.plots import plot_calibration
        >>> ranks = torch.arange(100).unsqueeze(1)
        >>> simulated = SimulatedCalibration(("mean",), ranks, torch.full((100,), 99), 100)
        >>> plot_calibration(simulated)[0].get_title()
        'calibrated, within chance of 100 data sets'
    """
    is_one = isinstance(simulated, SimulatedCalibration)
    check(is_one, "simulated", "what simulate_calibration returned", type(simulated).__name__)
    check(len(simulated.ranks), "simulated", "ranks of at least one data set", "none")
    axes = axes_pair_for(ax)
    for one, values in zip(axes, (simulated.positions, simulated.levels), strict=True):
        _draw(one, simulated, values.numpy())
        one.set_xlim(0, 1)
    label_axes(
        axes[0], "rank of the truth, in shares of draws", "share of data sets below, minus even"
    )
    label_axes(axes[1], "probability of central intervals", "coverage, minus that probability")
    axes[0].set_title(simulated.verdict.partition(":")[0], fontsize=10)
    add_legend(axes[1], "beside")
    return axes


def _draw(ax: Any, simulated: SimulatedCalibration, values: np.ndarray) -> None:
    """Draws the distribution functions of numbers ``(N, Q)`` that are to be even, and the band."""
    points, count = even_points(), len(values)
    low, high = even_band(count, simulated.band_probability)
    label = "by chance (99 %, all lines)"
    ax.fill_between(points, low - points, high - points, color=DATA, linewidth=0, label=label)
    ax.axhline(0, color=PRIOR, linestyle="--", linewidth=1)
    order = simulated.p_values.argsort().tolist()
    named = dict(zip(order, colors(_MOST_NAMED), strict=False))
    held = [simulated.coverage(level) for level in (0.5, 0.8, 0.9)]
    for place, q in enumerate(order):
        heights = np.searchsorted(np.sort(values[:, q]), points, side="right") / count - points
        style: dict[str, Any] = {"color": PRIOR, "linewidth": 0.7, "alpha": 0.6}
        if q in named:
            shares = f",{_SPACE}".join(f"{100 * float(shares[q]):.0f}" for shares in held)
            style = {"color": named[q], "label": f"{simulated.names[q]} ({shares}{_SPACE}%)"}
        ax.step(points, heights, where="mid", zorder=2 + 1 / (1 + place), **style)
