"""How all plots look: their colors and sizes, the axes they are drawn in, the legend's place."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..checks import check

__all__ = [
    "DATA",
    "FAINT",
    "OUTSIDE",
    "POINT",
    "POSTERIOR",
    "PRIOR",
    "SMALL",
    "SQUARE",
    "add_legend",
    "axes_for",
    "axes_pair_for",
    "colors",
    "draw_bands",
    "note_of_hidden",
    "outlined",
]

POSTERIOR, POINT, PRIOR = "C0", "C1", "0.45"
DATA, FAINT = "0.88", "0.8"  # a histogram; what is drawn behind
OUTSIDE = "0.5"  # of rows that are no component's
_WIDE, SQUARE = (6.0, 4.0), (5.2, 4.4)  # inches
SMALL = 8  # points, of legends and notes
_BANDS = ((0.9, 0.22), (0.5, 0.4))  # probability and opacity
_MARGIN, _MOST_ROOM = 0.04, 0.7  # of the axes
_FINE = 200


def _check_axes(ax: Any) -> None:
    from matplotlib.axes import Axes

    check(isinstance(ax, Axes), "ax", "axes of matplotlib", type(ax).__name__)


def axes_for(ax: Any, figsize: Sequence[float] = _WIDE) -> Any:
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


def add_legend(ax: Any) -> None:
    """Adds a legend in the upper corner that needs the least room above the data, and makes it."""
    ylim = ax.get_ylim()  # and with that, what is drawn has its scale
    legend = ax.legend(fontsize=SMALL, loc="upper right", framealpha=0.9, edgecolor="none")
    size, inner = legend.get_window_extent(), ax.get_window_extent()
    width, height = size.width / inner.width, min(size.height / inner.height, _MOST_ROOM)
    x, y = _drawn_points(ax).T
    corners = {"upper right": x > 1 - width - _MARGIN, "upper left": x < width + _MARGIN}
    peaks = {corner: y[within].max(initial=0) for corner, within in corners.items()}
    corner = min(peaks, key=lambda corner: peaks[corner])
    legend.set_loc(corner)
    stretch = max(peaks[corner] / (1 - height - _MARGIN), y.max(initial=0) + _MARGIN / 2)
    if stretch > 1:
        scale = ax.yaxis.get_transform()
        low, high = scale.transform(ylim)
        ax.set_ylim(top=scale.inverted().transform([low + stretch * (high - low)])[0])


def _drawn_points(ax: Any) -> np.ndarray:
    """Points of all that is drawn by its data, ``(n, 2)``, in shares of the axes."""
    lines = [line.get_xydata() for line in ax.lines if line.get_transform() == ax.transData]
    points = [_refined(line) for line in lines]
    points += [part.get_offsets() for part in ax.collections]
    points += [path.vertices for part in ax.collections for path in _own_paths(part)]
    points += [bar.get_patch_transform().transform(bar.get_path().vertices) for bar in ax.patches]
    drawn = np.concatenate([np.empty((0, 2)), *map(np.asarray, points)])
    drawn = (ax.transData - ax.transAxes).transform(drawn)
    return drawn[np.isfinite(drawn).all(1)]


def _own_paths(part: Any) -> list[Any]:
    """The paths of a collection whose data they are, not the marks at its data."""
    from matplotlib.collections import PathCollection

    return [] if isinstance(part, PathCollection) else part.get_paths()


def _refined(line: np.ndarray) -> np.ndarray:
    """A line's points, and more between them where they are few."""
    at = np.arange(len(line))
    finer = np.linspace(0, max(at, default=0), max(len(line), _FINE))
    return np.stack([np.interp(finer, at, line[:, d]) for d in (0, 1)], 1) if len(line) else line


def draw_bands(ax: Any, x: Tensor, draws: Tensor, label: str) -> None:
    """Draws where most of some curves ``(S, n)`` lie over ``x``, shape ``(n,)``."""
    for probability, opacity in _BANDS:
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
    return f"\n({hidden} rows miss one of the two\nand are not drawn)" if hidden else ""
