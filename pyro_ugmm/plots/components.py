"""Known classes against components."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check, check_values
from ..tables import as_labels
from .style import SQUARE, axes_for, label_axes, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_components"]

_POINTS_A_NAME = 130


def plot_components(
    labels: Any,
    y: Any,
    names: Sequence[str] | None = None,
    *,
    ax: Any = None,
) -> "Axes":
    """Draws how many rows of each known class fall to each component.

    Components are put in the order in which they agree best with the classes, by
    ``scipy.optimize.linear_sum_assignment``.

    Args:
        labels: a component for each row, such as ``mixture.predict(x)``, shape ``(n,)``.
        y: known classes, shape ``(n,)``.
        names: of the classes.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if the two differ in length, or are not integers from zero.

    Example:
        >>> import torch
        >>> from pyro_ugmm.plots import plot_components
        >>> labels, y = torch.tensor([1, 1, 0, 0]), torch.tensor([0, 0, 1, 1])
        >>> [tick.get_text() for tick in plot_components(labels, y).get_xticklabels()]
        ['1', '0']
    """
    from scipy.optimize import linear_sum_assignment

    labels, y = _counted("labels", labels), _counted("y", y)
    check(len(labels) == len(y) > 0, "y", f"as many as labels, {len(labels)}", len(y))
    n_classes, n_components = int(y.max()) + 1, int(labels.max()) + 1
    if names is not None:
        got = len(names) if hasattr(names, "__len__") else type(names).__name__
        valid = isinstance(got, int) and got >= n_classes
        check(valid, "names", f"{n_classes} names, one for each class", got)
    counts = np.zeros((n_classes, n_components), dtype=int)
    np.add.at(counts, (y.numpy(), labels.numpy()), 1)
    first = linear_sum_assignment(counts, maximize=True)[1].tolist()
    order = first + [k for k in range(n_components) if k not in first]
    width, height = SQUARE
    ax = axes_for(ax, (max(width, 0.5 * n_components + 1.2), max(height, 0.4 * n_classes)))
    _draw_counts(ax, counts[:, order])
    ax.set_xticks(range(n_components), [str(k) for k in order])
    rows = range(n_classes)
    said = rows if names is None else [*names][:n_classes]
    size = ax.yaxis.label.get_size()
    ax.set_yticks(rows, [wrapped(name, _POINTS_A_NAME, size) for name in said])
    label_axes(ax, "component", "class")
    return ax


def _draw_counts(ax: Any, counts: np.ndarray) -> None:
    """Draws a table of counts, colored by the share of each in its row."""
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    size = _fitting_size(ax, counts)
    ax.tick_params(axis="x", labelsize=size)
    for (i, j), count in np.ndenumerate(counts):
        color = "white" if shares[i, j] > 0.5 else "black"
        ax.text(j, i, str(count), ha="center", va="center", color=color, size=size)


def _fitting_size(ax: Any, counts: np.ndarray) -> float:
    """The size of numbers that fit into the cells, in points."""
    points = 72 / ax.figure.dpi
    wide = ax.bbox.width * points / counts.shape[1] / (0.65 * len(f" {counts.max()}"))
    return min(10.0, max(4.0, min(wide, ax.bbox.height * points / len(counts) / 1.2)))


def _counted(name: str, value: Any) -> Tensor:
    """Checks that a vector holds integers from zero, and returns them."""
    integers = as_labels(name, value).cpu()
    valid = (
        integers.dim() == 1 and not integers.is_floating_point() and integers.dtype != torch.bool
    )
    got = f"{integers.dtype} of shape {tuple(integers.shape)}"
    check(valid, name, "integers, shape (n,)", got)
    integers = integers.long()
    check_values(name, integers, integers >= 0, "integers from zero")
    return integers
