"""The criterion of a selection against the number of components.

``Selection.plot`` draws by this, from a floor below: nothing is imported here but the style.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..checks import check
from .legends import add_legend
from .style import HIGHLIGHT, axes_for, colors, label_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_selection"]

_FAR, _MARGIN = 2, 0.06  # of the range of what is near


def plot_selection(selection: Any, *, ax: Any = None) -> "Axes":
    """Draws the criterion of every fit against its number of components, a line a structure.

    The best is marked; fits with collapsed or singular components, whose likelihood is high for no
    good reason, are hollow. The evidence is drawn with two standard errors, and the higher the
    better, unlike the other criteria. A structure that is far behind all others is left out, and
    the legend says so.

    Args:
        selection: what :func:`~pyro_ugmm.em.select` returned.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if it is no selection.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import select
        >>> from pyro_ugmm.plots import plot_selection
        >>> selection = select(torch.randn(100, 2), n_components=[1, 2], seed=0)
        >>> plot_selection(selection).get_ylabel()
        'BIC (lower is better)'
    """
    is_one = all(hasattr(selection, name) for name in ("table", "best", "criterion"))
    check(is_one, "selection", "what select returned", type(selection).__name__)
    ax, criterion = axes_for(ax), selection.criterion
    structures = _by_structure(selection.table)
    near, far = _near_and_far(structures, criterion)
    for (structure, rows), style in zip(structures.items(), _styles(len(structures)), strict=True):
        label = f"{structure} (far behind)" if structure in far else structure
        _draw_line(ax, rows, criterion, label=label, style=style)
    outside = _limit(ax, near, structures, criterion)
    if any(row.unsound for row in selection.table):
        hollow = {"color": "black", "markerfacecolor": "white", "linestyle": ""}
        note = " (some far below)" if outside else ""
        ax.plot([], [], marker="o", label=f"collapsed or singular{note}", **hollow)
    at = selection.best.n_components, _height(selection.best, criterion)
    ring = {"markersize": 14, "markerfacecolor": "none", "markeredgecolor": HIGHLIGHT}
    ax.plot(*at, "o", label="best", **ring)
    by_evidence = "log evidence (nats, higher is better)"
    name = by_evidence if criterion == "evidence" else f"{criterion.upper()} (lower is better)"
    label_axes(ax, "components", name)
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    add_legend(ax)
    return ax


def _height(row: Any, criterion: str) -> float:
    """What is drawn of a fit: its criterion, or its log evidence."""
    value = float(getattr(row, criterion))
    value = -0.5 * value if criterion == "evidence" else value
    return value if math.isfinite(value) else math.nan


def _by_structure(table: Sequence[Any]) -> dict[str, list[Any]]:
    """The fits of each structure, by size."""
    structures: dict[str, list[Any]] = {row.structure: [] for row in table}
    for row in sorted(table, key=lambda row: row.n_components):
        structures[row.structure].append(row)
    return structures


def _near_and_far(structures: dict[str, list[Any]], criterion: str) -> tuple[list[float], set[str]]:
    """The heights of the structures that are looked at, and the names of those far behind."""
    sign = -1 if criterion == "evidence" else 1
    heights = {
        name: [sign * h for h in _sound(rows, criterion)] for name, rows in structures.items()
    }
    order = sorted((name for name in heights if heights[name]), key=lambda name: min(heights[name]))
    near: list[float] = []
    for i, name in enumerate(order):
        if near and 0 < _FAR * (max(near) - min(near)) < min(heights[name]) - min(near):
            return [sign * height for height in near], {*order[i:]}
        near += heights[name]
    return [sign * height for height in near], set()


def _sound(rows: Sequence[Any], criterion: str) -> list[float]:
    """The finite heights of sound fits; by evidence, of all, which knows of collapse by itself."""
    heights = [
        _height(row, criterion) for row in rows if criterion == "evidence" or not row.unsound
    ]
    return [height for height in heights if math.isfinite(height)]


def _limit(ax: Any, near: list[float], structures: dict[str, list[Any]], criterion: str) -> bool:
    """Ends the axis where what is near ends, if something is far; says if something is below."""
    if len(near) < 2:
        return False
    span = max(near) - min(near)
    rows = [row for of_one in structures.values() for row in of_one]
    heights = [h for row in rows if math.isfinite(h := _height(row, criterion))]
    is_below = 0 < _FAR * span < min(near) - min(heights)
    is_above = 0 < _FAR * span < max(heights) - max(near)
    if is_below or is_above:
        ax.set_ylim(min(near) - _MARGIN * span, max(near) + _MARGIN * span)
    return is_below


def _styles(count: int) -> list[dict[str, Any]]:
    """A look for each line, the first the broadest, so that none hides another."""
    shares = [1 - i / max(count - 1, 1) for i in range(count)]
    return [
        {"color": color, "linewidth": 1.3 + 1.1 * share, "markersize": 4.5 + 3.5 * share}
        for color, share in zip(colors(count), shares, strict=True)
    ]


def _draw_line(
    ax: Any, rows: Sequence[Any], criterion: str, *, label: str, style: dict[str, Any]
) -> None:
    """Draws the fits of one structure, which are in order of size."""
    points = [(row.n_components, _height(row, criterion)) for row in rows]
    ax.plot(*zip(*points, strict=True), marker="o", label=label, **style)
    unsound = [point for point, row in zip(points, rows, strict=True) if row.unsound]
    if unsound:
        hollow = style | {"markerfacecolor": "white", "linestyle": ""}
        ax.plot(*zip(*unsound, strict=True), marker="o", **hollow)
    if criterion == "evidence":
        errors = [2 * row.sample.log_evidence_error for row in rows]
        ax.errorbar(*zip(*points, strict=True), yerr=errors, fmt="none", color=style["color"])
