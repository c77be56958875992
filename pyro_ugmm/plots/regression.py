"""The posterior predictive of a regression over one feature."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pyro.infer import MCMC
from torch import Tensor

from ..checks import check
from ..diagnostics import predictive_quantiles
from ..missing_values import network_rule
from ..models import UGMMRegressor
from ..tables import as_table
from .fixed_values import fixed_values
from .legends import add_legend
from .positions import check_names, check_position
from .style import POSTERIOR, PRIOR, axes_for, label_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_regression"]

_GRID, _MARGIN = 200, 0.05
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_OPACITY = (0.22, 0.4)


def plot_regression(
    model: UGMMRegressor,
    inference: Callable | MCMC | None,
    x: Any,
    y: Any,
    feature: int | str = 0,
    *,
    output: int = 0,
    names: Sequence[str] | None = None,
    fixed: Any = None,
    num_samples: int = 200,
    seed: int | None = None,
    ax: Any = None,
) -> "Axes":
    r"""Draws quantiles of the posterior predictive over one feature, beside the data.

    The bands hold a target with a probability of 50 and 90 %, the line is the median, at the other
    features' fixed values; the rows drawn have their own.

    Args:
        model: the model.
        inference: what made draws, or None, as of
            :func:`pyro_ugmm.diagnostics.predictive_mixture`.
        x: features of the data to draw, shape ``(n, K)``: a tensor, an array or a data frame.
        y: their targets, shape ``(n,)`` or ``(n, M)``; a series or a data frame names the axis.
        feature: the feature, by number or by name.
        output: which of several outputs.
        names: of all features; by default, those of a data frame's columns.
        fixed: values of all features, shape ``(K,)``, of which the other ones are kept; the
            medians of what was observed in ``x`` if None.
        num_samples: the draws from a guide.
        seed: for the draws.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if the model is no regression, or the data, feature, names or axes do not fit
            it.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import UGMMRegressor
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.plots import plot_regression
        >>> x = torch.randn(60, 2)
        >>> model = UGMMRegressor(UGMMNetwork([2, 4, 20]))
        >>> plot_regression(model, None, x, x[:, 0].sin(), names=["u", "v"]).get_xlabel()
        'u (other features at their medians)'
    """
    check(isinstance(model, UGMMRegressor), "model", "a UGMMRegressor", type(model).__name__)
    check(y is not None, "y", "targets, shape (n,)", "None")
    table, target_names = as_table("x", x), _names_of(y)
    x, y = (part.detach() for part in model.check_data(table, y))
    n_features = x.shape[1]
    numbered = [f"feature {i}" for i in range(n_features)]
    shown = check_names("names", names, table.labels or numbered, "feature")
    feature = check_position("feature", feature, n_features, names=shown)
    output = check_position("output", output, model.n_outputs)
    rule = network_rule(model.network.missing)
    kept = x.nanmedian(0).values if fixed is None else fixed_values(fixed, x, [feature], rule)
    ax = axes_for(ax)
    grid, rows = _grid(x[:, feature]), kept.to(x).repeat(_GRID, 1)
    rows[:, feature] = grid
    found = predictive_quantiles(model, inference, rows, _QUANTILES, num_samples, seed)
    curves = found.reshape(len(_QUANTILES), _GRID, -1)[..., output].numpy()
    along, targets = grid.cpu().numpy(), y.reshape(len(y), -1)[:, output]
    for i, opacity in enumerate(_OPACITY):
        label = f"{_QUANTILES[-1 - i] - _QUANTILES[i]:.0%} of targets"
        style = {"color": POSTERIOR, "alpha": opacity, "linewidth": 0, "label": label}
        ax.fill_between(along, curves[i], curves[-1 - i], **style)
    ax.plot(along, curves[len(curves) // 2], color=POSTERIOR, label="median")
    points = x[:, feature].cpu(), targets.cpu()
    ax.scatter(*points, s=10, color=PRIOR, linewidth=0, alpha=0.7, label="rows", zorder=3)
    hidden = int(x[:, feature].isnan().sum())
    others = f"other features at their {'medians' if fixed is None else 'given values'}"
    notes = [others] * (n_features > 1) + [f"{hidden} rows miss it"] * (hidden > 0)
    target = "y" if model.n_outputs == 1 else f"output {output}"
    target = target_names[output] if len(target_names) == model.n_outputs else target
    label_axes(ax, f"{shown[feature]} ({'; '.join(notes)})" if notes else shown[feature], target)
    add_legend(ax)
    return ax


def _names_of(targets: Any) -> list[str]:
    """The names of targets, if they are a data frame's columns."""
    if hasattr(targets, "columns"):
        return [*(as_table("y", targets).labels or ())]
    name = getattr(targets, "name", None)
    return [name] if isinstance(name, str) else []


def _grid(values: Tensor) -> Tensor:
    """Values over the range of those that were observed, shape ``(G,)``."""
    values = values[~values.isnan()]
    check(len(values), "feature", "one of which x has values", "one that is missing")
    low, high = float(values.min()), float(values.max())
    margin = _MARGIN * (high - low) or 1.0
    return torch.linspace(low - margin, high + margin, _GRID).to(values)
