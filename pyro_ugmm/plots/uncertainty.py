"""A map of predictive uncertainty."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pyro.infer import MCMC
from torch import Tensor

from ..checks import check
from ..diagnostics import class_probabilities, uncertainty
from ..missing_values import network_rule
from ..models.label_model import LabelModel
from ..tables import as_table
from .fixed_values import fixed_values
from .legends import add_legend
from .positions import check_names, check_pair
from .style import axes_pair_for, colors, label_axes, note_of_hidden

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_uncertainty"]

_GRID = 60
_MARGIN = 0.35


def plot_uncertainty(
    model: LabelModel,
    inference: Callable | MCMC,
    x: Any,
    y: Any,
    features: tuple[int | str, int | str] = (0, 1),
    *,
    names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    fixed: Any = None,
    num_samples: int = 200,
    seed: int | None = None,
    ax: Sequence[Any] | None = None,
) -> "Sequence[Axes]":
    r"""Maps predictive uncertainty over two features, in nats, beside the data.

    The left map is the entropy of the posterior predictive, the right one its epistemic part,
    which more data would remove (:func:`pyro_ugmm.diagnostics.uncertainty`).

    Args:
        model: the model.
        inference: its fitted guide, or MCMC that was run.
        x: features of the data to draw, shape ``(n, K)``: a tensor, an array or a data frame.
        y: their labels, shape ``(n,)``.
        features: the two features mapped, by number, or by name.
        names: of all features; by default, those of a data frame's columns.
        class_names: of the classes.
        fixed: values of all features, shape ``(K,)``, of which the other ones are kept; the
            medians of what was observed in ``x`` if None.
        num_samples: the draws from a guide.
        seed: for the draws.
        ax: two axes to draw in; new ones if None.

    Raises:
        ValueError: if the model is not a network's, or the data, features, names or axes do not
            fit it.

    Example:
        >>> import torch
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import Priors, UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.plots import plot_uncertainty
        >>> model = UGMMClassifier(UGMMNetwork([2, 4, 3]), Priors())
        >>> x, y = torch.randn(30, 2), torch.arange(30) % 3
        >>> axes = plot_uncertainty(model, mean_field(model), x, y, num_samples=20)
        >>> [ax.get_title() for ax in axes]
        ['all uncertainty', 'epistemic: more data would remove it']
    """
    check(isinstance(model, LabelModel), "model", "a network's", type(model).__name__)
    check(y is not None, "y", "labels, shape (n,)", "None")
    table = as_table("x", x)
    x, y = model.check_data(table, y)
    check(y.dim() == 1, "y", "shape (n,)", tuple(y.shape))
    x, n_features = x.detach(), x.shape[1]
    numbered = [f"feature {i}" for i in range(n_features)]
    shown = check_names("names", names, table.labels or numbered, "feature")
    pair = check_pair("features", features, n_features, shown)
    classes = [f"class {i}" for i in range(model.n_classes)]
    labels = check_names("class_names", class_names, classes, "class")
    axes = axes_pair_for(ax)
    rule = network_rule(model.network.missing)
    center = x.nanmedian(0).values if fixed is None else fixed_values(fixed, x, pair, rule)
    grid, edges = _grid(x, pair, center)
    parts = uncertainty(class_probabilities(model, inference, grid, num_samples, seed))
    rows = x[:, list(pair)]
    by_class = {name: rows[y == label].cpu() for label, name in enumerate(labels)}
    style = {"cmap": "Greys", "vmin": 0, "vmax": math.log(model.n_classes), "shading": "gouraud"}
    titles = ("all uncertainty", "epistemic: more data would remove it")
    for one, title, values in zip(axes, titles, (parts.total, parts.epistemic), strict=True):
        shade = one.pcolormesh(*edges, values.reshape(_GRID, _GRID).numpy(), **style)
        _draw_rows(one, by_class)
        one.set_title(title, fontsize=10)
        label_axes(one, f"{shown[pair[0]]}{note_of_hidden(rows)}")
    label_axes(axes[0], y=shown[pair[1]])
    axes[0].figure.colorbar(shade, ax=list(axes), label="entropy (nats)")
    add_legend(axes[0], "below", inside=False)
    return axes


def _draw_rows(ax: Any, by_class: dict[Any, Tensor]) -> None:
    for (name, rows), color in zip(by_class.items(), colors(len(by_class)), strict=True):
        ax.scatter(*rows.T, s=18, color=color, edgecolor="white", linewidth=0.5, label=name)


def _grid(x: Tensor, features: Sequence[int], fixed: Tensor) -> tuple[Tensor, list[Any]]:
    """Rows over the range of two features, and the values of each along its axis."""
    axes = []
    for feature in features:
        values = x[:, feature]
        values = values[values.isfinite()]
        expected = "two of which x has values"
        check(len(values), "features", expected, f"{feature}, which is missing")
        low, high = float(values.min()), float(values.max())
        margin = _MARGIN * (high - low) or 1.0
        axes.append(torch.linspace(low - margin, high + margin, _GRID).to(x))
    grid = fixed.to(x).expand(_GRID * _GRID, -1).clone()
    for feature, values in zip(features, torch.meshgrid(*axes, indexing="xy"), strict=True):
        grid[:, feature] = values.reshape(-1)
    return grid, [axis.numpy(force=True) for axis in axes]
