"""The axes that a plot is drawn in, and the legend's place there."""

import math
from collections.abc import Sequence
from typing import Any

from ..checks import check

__all__ = ["check_axes", "given_or_new", "legend_above", "note_of_hidden"]

_MARGIN = 0.04


def check_axes(name: str, ax: Any) -> None:
    """Checks that a value is one of matplotlib's axes."""
    from matplotlib.axes import Axes

    check(isinstance(ax, Axes), name, "axes of matplotlib", type(ax).__name__)


def given_or_new(ax: Any, figsize: Sequence[float] | None = None) -> Any:
    """Returns the axes given, or new ones."""
    if ax is not None:
        check_axes("ax", ax)
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained", figsize=figsize)[1]


def legend_above(ax: Any, size: float = 8) -> None:
    """Puts a legend into room made for it above what is drawn, there and in axes that share y."""
    legend = ax.legend(fontsize=size, loc="upper right")
    points = (1.6 * len(legend.get_texts()) + 1.5) * size
    share = min(points / (ax.bbox.height / ax.figure.dpi * 72), 0.7)
    scale, sharing = ax.yaxis.get_transform(), ax.get_shared_y_axes().get_siblings(ax)
    highest = max(other.dataLim.y1 for other in sharing)
    low, high = scale.transform([ax.get_ylim()[0], highest])
    room = (_MARGIN + share) / (1 - _MARGIN - share)
    top = scale.inverted().transform([high + room * (high - low)])[0]
    if math.isfinite(top) and top > ax.get_ylim()[0]:  # unless nothing was drawn, or all is flat
        ax.set_ylim(top=top)


def note_of_hidden(rows: Any) -> str:
    """What to say of rows ``(n, 2)`` that cannot be drawn, since they miss one of the two."""
    hidden = int(rows.isnan().any(1).sum())
    return f"\n({hidden} rows miss one of the two and are not drawn)" if hidden else ""
