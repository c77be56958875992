"""How all plots look: one palette with fixed meanings, sizes, axes, and what is written on them."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..checks import check

__all__ = [
    "DATA",
    "FAINT",
    "HIGHLIGHT",
    "OUTSIDE",
    "POINT",
    "POSTERIOR",
    "PRIOR",
    "SMALL",
    "SQUARE",
    "WIDE",
    "axes_for",
    "axes_pair_for",
    "colors",
    "label_axes",
    "note_of_hidden",
    "number_factors",
    "number_text",
    "outlined",
    "wrapped",
]

POSTERIOR, POINT, PRIOR = "#1f77b4", "#d95f02", "0.45"  # POINT is of maximum likelihood
DATA, FAINT = "0.88", "0.8"  # a histogram; what is drawn behind
OUTSIDE = "0.5"  # of rows that are no component's
HIGHLIGHT = "#d62728"  # what to look at: the best, what is unsound
# What is told apart: components, classes, runs, structures. None is a color of above.
_SEVERAL = ["#e69f00", "#009e73", "#8b5fbf", "#cc79a7", "#56b4e9", "#8c564b", "#999933"]
_SEVERAL += ["#332288", "#66c2a5", "#b2df8a"]
WIDE, SQUARE = (6.0, 4.0), (5.2, 4.4)  # inches
SMALL = 8  # points, of legends and notes
_POINTS_A_LETTER = 0.56  # of the size of the letters
_LEAST_LETTERS, _LABEL = 12, 0.95  # of the axis


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


def colors(count: int) -> list[Any]:
    """As many colors for what is told apart, the usual ones if they are enough."""
    from matplotlib import colormaps

    if count <= len(_SEVERAL):
        return _SEVERAL[:count]
    return [*colormaps["turbo"](np.linspace(0.05, 0.95, count))]


def outlined() -> list[Any]:
    """The effect that keeps text readable over what is drawn."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=2.5, foreground="white")]


def wrapped(text: Any, points: float, size: float) -> str:
    """Text in lines that fit into a length, at spaces.

    Args:
        text: what is written; its own lines stay.
        points: the length there is.
        size: of the letters, in points.
    """
    letters = max(_LEAST_LETTERS, int(points / (_POINTS_A_LETTER * size)))
    lines = str(text).split("\n")
    return "\n".join(textwrap.fill(line, letters, break_long_words=False) for line in lines)


def label_axes(ax: Any, x: Any = None, y: Any = None) -> None:
    """Labels axes, in lines that are no longer than these where the words allow it."""
    for label, axis, side in ((x, ax.xaxis, "width"), (y, ax.yaxis, "height")):
        if label is not None:
            axis.set_label_text(str(label))
            room = getattr(ax.bbox, side)
            length = getattr(axis.label.get_window_extent(), side)
            if length > room:
                points = _LABEL * room * 72 / ax.figure.dpi
                axis.set_label_text(wrapped(label, points, axis.label.get_size()))


def note_of_hidden(rows: Tensor) -> str:
    """What to say of rows ``(n, 2)`` that cannot be drawn, since they miss one of the two."""
    hidden = int(rows.isnan().any(1).sum())
    return f"\n({hidden} rows miss one of the two\nand are not drawn)" if hidden else ""


def number_factors(axis: Any) -> None:
    """Numbers a logarithmic axis: at 1, 2 and 5, or at powers of ten if they are many."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    few = high < 1e3 * low
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=9))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number_text(value)))
    axis.set_minor_formatter(NullFormatter())


def number_text(value: float) -> str:
    """A number of few digits, plainly or with a power of ten."""
    if 1e-4 < abs(value) < 1e6 or value == 0:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    digits, power = f"{value:.0e}".split("e")
    factor = "" if digits == "1" else rf"{digits}\times "
    return f"${factor}10^{{{int(power)}}}$"
