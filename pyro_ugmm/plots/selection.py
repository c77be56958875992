"""The criterion of a selection against the number of components.

``Selection.plot`` draws by this, from a floor below: nothing is imported here but the style.
"""

from typing import TYPE_CHECKING, Any

from ..checks import check
from .style import add_legend, axes_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_selection"]


def plot_selection(selection: Any, *, ax: Any = None) -> "Axes":
    """Draws the criterion of every fit against its number of components, a line a structure.

    The best is marked; fits with collapsed or singular components, whose likelihood is high for no
    good reason, are hollow.

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
        'BIC (nats, lower is better)'
    """
    is_one = all(hasattr(selection, name) for name in ("table", "best", "criterion"))
    check(is_one, "selection", "what select returned", type(selection).__name__)
    ax, criterion = axes_for(ax), selection.criterion
    structures = dict.fromkeys(row.structure for row in selection.table)
    for i, structure in enumerate(structures):
        rows = [row for row in selection.table if row.structure == structure]
        _draw_line(ax, rows, criterion, label=structure, color=f"C{i}")
    if any(row.unsound for row in selection.table):
        hollow = {"color": "black", "markerfacecolor": "white", "linestyle": ""}
        ax.plot([], [], marker="o", label="collapsed or singular", **hollow)
    at = selection.best.n_components, getattr(selection.best, criterion)
    ring = {"markersize": 14, "markerfacecolor": "none", "markeredgecolor": "black"}
    ax.plot(*at, "o", label="best", **ring)
    name = "-2 log evidence" if criterion == "evidence" else criterion.upper()
    ax.set(xlabel="components", ylabel=f"{name} (nats, lower is better)")
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    add_legend(ax)
    return ax


def _draw_line(ax: Any, rows: list[Any], criterion: str, *, label: str, color: str) -> None:
    """Draws the fits of one structure by size."""
    rows = sorted(rows, key=lambda row: row.n_components)
    points = [(row.n_components, getattr(row, criterion)) for row in rows]
    ax.plot(*zip(*points, strict=True), color=color, marker="o", label=label)
    unsound = [point for point, row in zip(points, rows, strict=True) if row.unsound]
    if unsound:
        hollow = {"color": color, "markerfacecolor": "white", "linestyle": ""}
        ax.plot(*zip(*unsound, strict=True), marker="o", **hollow)
