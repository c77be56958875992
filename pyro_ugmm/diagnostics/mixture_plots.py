"""Plots of Gaussian mixtures: with data, with posterior bands, against known labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check, check_values
from ..distributions import GaussianMixture
from ..missing_values import mixture_rule
from ..models import BayesianGaussianMixture
from ..precision import full_precision
from ..tables import as_labels, as_table
from .axes import given_or_new, legend_above, note_of_hidden
from .mixtures import mixture_draws
from .positions import check_pair, check_position

if TYPE_CHECKING:
    from arviz import InferenceData
    from matplotlib.axes import Axes

__all__ = ["plot_components", "plot_density", "plot_mixture"]

_BINS, _GRID, _MARGIN = 30, 120, 0.15
_MOST_DRAWS = 400
_LEVELS = (0.5, 0.9)
_SIZE = (5.2, 4.4)  # inches


@full_precision
def plot_mixture(
    mixture: GaussianMixture, x: Any, dims: tuple[int | str, int | str] = (0, 1), ax: Any = None
) -> "Axes":
    """Draws rows, colored by their most probable component, and the components' ellipses.

    An ellipse holds 90 percent of its component's mass in the two dimensions drawn; the number
    beside its center is the component's, the gray lines are the marginal density's contours.

    Args:
        mixture: without a batch.
        x: rows, shape ``(n, D)``: a tensor, an array or a data frame.
        dims: the two dimensions to draw, by number; of a data frame, by name too.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if the mixture has a batch or one dimension, or the rows do not fit it.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import plot_mixture
        >>> from pyro_ugmm.em import EMFitter, initialize
        >>> x = torch.cat([torch.randn(50, 2) - 3, torch.randn(50, 2) + 3])
        >>> mixture = EMFitter().fit(x, initialize(x, 2)).mixture
        >>> plot_mixture(mixture, x).get_xlabel()
        'dimension 0'
    """
    from matplotlib import patheffects
    from matplotlib.patches import Ellipse
    from scipy.stats import chi2

    got = type(mixture).__name__
    check(isinstance(mixture, GaussianMixture), "mixture", "a GaussianMixture", got)
    check(mixture.batch_shape == (), "mixture", "no batch", tuple(mixture.batch_shape))
    table, n_features = as_table("x", x), mixture.n_features
    check(n_features > 1, "mixture", "one of two dimensions or more", n_features)
    shape = tuple(table.values.shape)
    fits = len(shape) == 2 and shape[0] > 0 and shape[1] == n_features
    check(fits, "x", f"rows (n, {n_features}), at least one", shape)
    table = table.like("the mixture", mixture.means)
    table.check_finite(mixture_rule(mixture.missing))
    x = table.values.detach()
    dims = check_pair("dims", dims, n_features, table.labels)
    names = table.labels or [f"dimension {d}" for d in range(n_features)]
    ax = given_or_new(ax, _SIZE)
    outline = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    colors = _colors(mixture.n_components)
    with torch.no_grad():
        component, rows = mixture.predict(x).cpu(), x[:, list(dims)].cpu()
        marginal = mixture.marginal(list(dims)).to("cpu")
        matrices = marginal.covariance.dense(mixture.n_components, 2)
    radius = chi2.ppf(0.9, 2) ** 0.5
    for k, color in enumerate(colors):
        ax.scatter(*rows[component == k].T, s=9, color=color, alpha=0.6, linewidth=0)
        lengths, directions = torch.linalg.eigh(matrices[k])
        width, height = (2 * radius * lengths.clamp(min=0).sqrt()).tolist()
        angle = float(torch.atan2(directions[1, 0], directions[0, 0]).rad2deg())
        center = marginal.means[k].tolist()
        ellipse = Ellipse(
            center, width, height, angle=angle, fill=False, color=color, linewidth=1.6
        )
        ax.add_patch(ellipse)
        place = {"ha": "center", "va": "center", "path_effects": outline}
        ax.annotate(str(k), center, color="black", weight="bold", **place)
    _draw_contours(ax, marginal)
    ax.set(xlabel=f"{names[dims[0]]}{note_of_hidden(rows)}", ylabel=names[dims[1]])
    return ax


def _colors(count: int) -> list[Any]:
    """As many colors, the usual ones if they are enough."""
    from matplotlib import colormaps

    if count <= 10:
        return [f"C{k}" for k in range(count)]
    return [*colormaps["turbo"](np.linspace(0.05, 0.95, count))]


def _draw_contours(ax: Any, mixture: GaussianMixture) -> None:
    """Draws the contours of a density in two dimensions over all of the axes."""
    ax.autoscale_view()
    limits = {"xlim": ax.get_xlim(), "ylim": ax.get_ylim()}
    ends = limits.values()
    axis = [torch.linspace(low, high, _GRID).to(mixture.means) for low, high in ends]
    grid = torch.stack(torch.meshgrid(*axis, indexing="xy"), -1)
    with torch.no_grad():
        density = mixture.log_prob(grid)
    top = float(density.max())
    style = {"colors": "0.8", "linewidths": 0.8, "linestyles": "solid", "zorder": 0}
    ax.contour(*axis, density, levels=np.linspace(top - 6, top, 7), **style)
    ax.set(**limits)


@full_precision
def plot_density(
    model: BayesianGaussianMixture,
    idata: "InferenceData",
    x: Any,
    feature: int | str = 0,
    ax: Any = None,
    *,
    group: str = "posterior",
) -> "Axes":
    """Draws the posterior of one feature's density, as bands, over a histogram of the data.

    Or that of the prior: a check, before any fit, of what densities it thinks of.

    Args:
        model: the model.
        idata: its draws, from :func:`to_inference_data`; labels may switch.
        x: rows, shape ``(n, D)``: a tensor, an array or a data frame.
        feature: the feature drawn, by number; by name too, if ``idata`` or a data frame has names.
        ax: the axes to draw in; new ones if None.
        group: ``"posterior"`` or ``"prior"``.

    Raises:
        ValueError: if the rows do not fit the model, or there is no such feature or group.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import plot_density, to_inference_data
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x = torch.cat([torch.randn(20, 1) - 3, torch.randn(20, 1) + 3])
        >>> model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
        >>> idata = to_inference_data(model, mean_field(model), x, num_samples=100, seed=0)
        >>> plot_density(model, idata, x).get_xlabel()
        'feature 0'
    """
    is_mixture = isinstance(model, BayesianGaussianMixture)
    check(is_mixture, "model", "a BayesianGaussianMixture", type(model).__name__)
    table = as_table("x", x)
    (x,) = model.check_data(table)
    mixtures = mixture_draws(model, idata, _MOST_DRAWS, group=group)
    named = idata[group]["means"].coords["feature"].values.tolist()
    names = [*map(str, named)] if any(isinstance(name, str) for name in named) else table.labels
    feature = check_position("feature", feature, model.n_features, names=names)
    ax = given_or_new(ax, _SIZE)
    values = x.detach()[:, feature]
    values = values[values.isfinite()]
    check(len(values), "feature", "one of which x has a value", f"{feature}, which is missing")
    least, most = float(values.min()), float(values.max())
    margin = _MARGIN * (most - least) or 1.0
    grid = torch.linspace(least - margin, most + margin, 300).to(values)
    with torch.no_grad():
        density = mixtures.marginal([feature]).log_prob(grid.unsqueeze(-1)).exp().cpu()
    grid = grid.cpu()
    ax.hist(values.cpu(), bins=_BINS, density=True, color="0.88", label="data")
    for level, alpha in ((_LEVELS[1], 0.25), (_LEVELS[0], 0.4)):
        low, high = density.quantile((1 - level) / 2, 0), density.quantile((1 + level) / 2, 0)
        label = f"{level:.0%} band"
        ax.fill_between(grid, low, high, color="C0", alpha=alpha, linewidth=0, label=label)
    ax.plot(grid, density.mean(0), color="C0", label=f"{group} predictive")
    ax.set(
        xlabel=names[feature] if names else f"feature {feature}", ylabel="density", ylim=(0, None)
    )
    legend_above(ax)
    return ax


def _counted(name: str, value: Any) -> Tensor:
    """Checks that a vector holds integers from zero, and returns them."""
    found = as_labels(name, value).cpu()
    valid = found.dim() == 1 and not found.is_floating_point() and found.dtype != torch.bool
    got = f"{found.dtype} of shape {tuple(found.shape)}"
    check(valid, name, "integers, shape (n,)", got)
    found = found.long()
    check_values(name, found, found >= 0, "integers from zero")
    return found


def plot_components(
    labels: Any,
    y: Any,
    names: Sequence[str] | None = None,
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
        >>> from pyro_ugmm.diagnostics import plot_components
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
    width, height = _SIZE
    ax = given_or_new(ax, (max(width, 0.5 * n_components + 1.2), max(height, 0.4 * n_classes)))
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    ax.imshow(shares[:, order], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i in range(n_classes):
        for j, k in enumerate(order):
            color = "white" if shares[i, k] > 0.5 else "black"
            ax.text(j, i, str(counts[i, k]), ha="center", va="center", color=color)
    ax.set_xticks(range(n_components), [str(k) for k in order])
    rows = range(n_classes)
    ax.set_yticks(rows, [*map(str, rows)] if names is None else [*names][:n_classes])
    ax.set(xlabel="component", ylabel="class")
    return ax
