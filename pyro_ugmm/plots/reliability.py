"""Accuracy against confidence."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..diagnostics import calibration
from ..tables import as_table
from .legends import add_legend
from .style import FAINT, POSTERIOR, PRIOR, SMALL, SQUARE, axes_for, label_axes, outlined

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_reliability"]

_ROUNDING = 1e-9


def plot_reliability(probabilities: Any, y: Any, n_bins: int = 10, *, ax: Any = None) -> "Axes":
    """Draws accuracy against confidence, with what chance explains of their distance.

    The bars are where the accuracy of a bin lies in 95 of 100 data sets if predictions are
    calibrated; points outside are evidence that they are not.

    Args:
        probabilities: of the posterior predictive, shape ``(n, C)``.
        y: labels, shape ``(n,)``.
        n_bins: bins of equal width.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: as :func:`pyro_ugmm.diagnostics.calibration` does.

    Example:
        >>> import torch
        >>> from pyro_ugmm.plots import plot_reliability
        >>> probabilities = torch.tensor([[0.8, 0.2]]).expand(10, 2)
        >>> plot_reliability(probabilities, torch.zeros(10, dtype=torch.long)).get_title()
        'expected calibration error 0.200'
    """
    from scipy.stats import binom

    measured = calibration(probabilities, y, n_bins)
    n_classes = as_table("probabilities", probabilities).values.shape[1]
    ax = axes_for(ax, SQUARE)
    filled = measured.counts > 0
    confidence, accuracy, counts = (
        values[filled].numpy(force=True)
        for values in (measured.confidence, measured.accuracy, measured.counts)
    )
    low, high = binom.interval(0.95, counts, np.minimum(confidence, 1.0)) / counts
    ax.plot([0, 1], [0, 1], color=PRIOR, linestyle="--", linewidth=1)
    chance = {"color": FAINT, "linewidth": 8, "label": "calibrated, by chance (95 %)"}
    ax.vlines(confidence, low, high, **chance)
    ax.scatter(
        confidence, accuracy, color=POSTERIOR, zorder=3, label="bins, with their numbers of rows"
    )
    for x, height, count in zip(confidence, accuracy, counts, strict=True):
        place = {"xytext": (0, -14 if height > 0.5 else 8), "textcoords": "offset points"}
        ax.annotate(
            f"{count:,}", (x, height), ha="center", size=SMALL, path_effects=outlined(), **place
        )
    least = min(1 / n_classes, float(confidence.min()))
    ax.set(xlim=(least - 0.05, 1.03), ylim=(min(low.min(), accuracy.min()) - 0.08, 1.05))
    label_axes(ax, "confidence", "accuracy")
    ax.set_title(f"expected calibration error {measured.error:.3f}", fontsize=10)
    add_legend(ax)
    ax.set_yticks([tick for tick in ax.get_yticks() if -_ROUNDING < tick < 1 + _ROUNDING])
    return ax
