"""How all plots look: their colors and sizes, the axes they are drawn in, the legend's place."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..checks import check

__all__ = [
    "BANDS",
    "DATA",
    "FAINT",
    "POINT",
    "POSTERIOR",
    "PRIOR",
    "SMALL",
    "SQUARE",
    "WIDE",
    "axes_for",
    "axes_pair_for",
    "colors",
    "draw_bands",
    "legend_above",
    "note_of_hidden",
    "outlined",
]

POSTERIOR, POINT, PRIOR = "C0", "C1", "0.45"
DATA, FAINT = "0.88", "0.8"  # a histogram; what is drawn behind
WIDE, SQUARE = (6.0, 4.0), (5.2, 4.4)  # inches
SMALL = 8  # points, of legends and notes
BANDS = ((0.9, 0.22), (0.5, 0.4))  # probability and opacity
_MARGIN = 0.04


def _check_axes(ax: Any) -> None:
    from matplotlib.axes import Axes

    check(isinstance(ax, Axes), "ax", "axes of matplotlib", type(ax).__name__)


def axes_for(ax: Any, figsize: Sequence[float] = WIDE) -> Any:
    """Returns the axes given, or new ones, open to the top and the right."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(layout="constrained", figsize=figsize)
    _check_axes(ax)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def axes_pair_for(ax: Any) -> Sequence[Any]:
    """Returns the two axes given, or two new ones that share both axes."""
    if ax is None:
        import matplotlib.pyplot as plt

        shared: dict[str, Any] = {"layout": "constrained", "sharex": True, "sharey": True}
        return plt.subplots(1, 2, figsize=(10, 4.4), **shared)[1]
    is_pair = hasattr(ax, "__len__") and len(ax) == 2
    check(is_pair, "ax", "two axes of matplotlib", type(ax).__name__)
    for one in ax:
        _check_axes(one)
    return ax


def legend_above(ax: Any) -> None:
    """Puts a legend into room made for it above what is drawn, there and in axes that share y."""
    legend = ax.legend(fontsize=SMALL, loc="upper right", frameon=False)
    points = (1.6 * len(legend.get_texts()) + 1.5) * SMALL
    share = min(points / (ax.bbox.height / ax.figure.dpi * 72), 0.7)
    scale, sharing = ax.yaxis.get_transform(), ax.get_shared_y_axes().get_siblings(ax)
    highest = max(other.dataLim.y1 for other in sharing)
    low, high = scale.transform([ax.get_ylim()[0], highest])
    room = (_MARGIN + share) / (1 - _MARGIN - share)
    top = scale.inverted().transform([high + room * (high - low)])[0]
    if math.isfinite(top) and top > ax.get_ylim()[0]:  # unless nothing was drawn, or all is flat
        ax.set_ylim(top=top)


def draw_bands(ax: Any, x: Tensor, draws: Tensor, label: str) -> None:
    """Draws where most of some curves ``(S, n)`` lie over ``x``, shape ``(n,)``."""
    for probability, opacity in BANDS:
        low, high = (draws.quantile((1 + sign * probability) / 2, 0) for sign in (-1, 1))
        style = {"color": POSTERIOR, "alpha": opacity, "linewidth": 0}
        ax.fill_between(x, low, high, label=label.format(f"{probability:.0%}"), **style)


def colors(count: int) -> list[Any]:
    """As many colors, the usual ones if they are enough."""
    from matplotlib import colormaps

    if count <= 10:
        return [f"C{k}" for k in range(count)]
    return [*colormaps["turbo"](np.linspace(0.05, 0.95, count))]


def outlined() -> list[Any]:
    """The effect that keeps text readable over what is drawn."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=2.5, foreground="white")]


def note_of_hidden(rows: Tensor) -> str:
    """What to say of rows ``(n, 2)`` that cannot be drawn, since they miss one of the two."""
    hidden = int(rows.isnan().any(1).sum())
    return f"\n({hidden} rows miss one of the two and are not drawn)" if hidden else ""
