"""A mixture in two dimensions, or in one, over its rows."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check
from ..distributions import BackgroundMixture, GaussianMixture
from ..missing_values import mixture_rule
from ..precision import full_precision
from ..tables import Table, as_table
from .curves import axis_over
from .legends import add_legend
from .mixture_line import draw_on_a_line
from .positions import check_pair, check_position
from .style import (
    FAINT,
    HIGHLIGHT,
    OUTSIDE,
    SQUARE,
    axes_for,
    colors,
    label_axes,
    note_of_hidden,
    outlined,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_mixture"]

_MASS, _COLLAPSED = 0.9, 0.01
_MOST_ADDED, _MOST_NAMED = 150, 6


@full_precision
def plot_mixture(
    mixture: GaussianMixture | BackgroundMixture,
    x: Any,
    dims: tuple[int | str, int | str] | int | str = (0, 1),
    *,
    ax: Any = None,
) -> "Axes":
    """Draws rows, colored by their most probable component, and the components' ellipses.

    An ellipse holds 90 percent of its component's mass in the two dimensions drawn; the number
    beside its center is the component's. Gray lines are contours of the marginal density, one nat
    apart, crosses are rows that are more probably of a background. Red rings mark components whose
    width in some direction drawn is below one percent of the data's, which the legend names. In one
    dimension the densities of the mixture and of its components are drawn over a histogram.

    Args:
        mixture: without a batch, or one beside a background.
        x: rows, shape ``(n, D)``: a tensor, an array or a data frame.
        dims: the two dimensions to draw, or the one, by number; of a data frame, by name too.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if the mixture has a batch, or the rows do not fit it.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import EMFitter, initialize
        >>> from pyro_ugmm.plots import plot_mixture
        >>> x = torch.cat([torch.randn(50, 2) - 3, torch.randn(50, 2) + 3])
        >>> mixture = EMFitter().fit(x, initialize(x, 2)).mixture
        >>> plot_mixture(mixture, x).get_xlabel()
        'dimension 0'
    """
    whole = mixture
    mixture = whole.mixture if isinstance(whole, BackgroundMixture) else whole
    table = _checked_rows(mixture, x)
    names = table.labels or [f"dimension {d}" for d in range(mixture.n_features)]
    ax = axes_for(ax, SQUARE)
    x = table.values.detach()
    if mixture.n_features == 1 or isinstance(dims, int | str):
        one = dims if isinstance(dims, int | str) else 0
        at = check_position("dims", one, mixture.n_features, names=table.labels)
        draw_on_a_line(ax, mixture.marginal([at]).to("cpu"), x[:, at].cpu())
        label_axes(ax, f"{names[at]}{note_of_hidden(x[:, [at]].cpu())}", "density")
        add_legend(ax)
        return ax
    dims = check_pair("dims", dims, mixture.n_features, table.labels)
    with torch.no_grad():
        component, rows = whole.predict(x).cpu(), x[:, list(dims)].cpu()
        marginal = mixture.marginal(list(dims)).to("cpu")
        matrices = marginal.covariance.dense(mixture.n_components, 2)
    collapsed = _collapsed(matrices, rows)
    for k, color in enumerate(colors(mixture.n_components)):
        ax.scatter(*rows[component == k].T, s=9, color=color, alpha=0.6, linewidth=0)
        center = marginal.means[k].tolist()
        _draw_ellipse(ax, center, matrices[k], color)
        place = {"ha": "center", "va": "center", "path_effects": outlined()}
        ax.annotate(str(k), center, color="black", weight="bold", **place)
    outside = rows[component < 0]
    label = f"{len(outside)} rows of the background" if len(outside) else None
    ax.scatter(*outside.T, s=14, color=OUTSIDE, marker="x", linewidth=0.9, label=label)
    _draw_contours(ax, marginal, collapsed)
    if collapsed.any():
        _mark_collapsed(ax, marginal.means, collapsed)
    label_axes(ax, f"{names[dims[0]]}{note_of_hidden(rows)}", names[dims[1]])
    add_legend(ax)
    return ax


def _collapsed(matrices: Tensor, rows: Tensor) -> Tensor:
    """Which components are far narrower than the rows, in some direction, shape ``(K,)``."""
    seen = rows[~rows.isnan().any(1)].double()
    spread = seen.std(0) if len(seen) > 1 else torch.zeros(2, dtype=torch.float64)
    spread = torch.where(spread > 0, spread, matrices.diagonal(dim1=-2, dim2=-1).amax(0).sqrt())
    narrowest = torch.linalg.eigvalsh(matrices.double() / spread.outer(spread))[:, 0]
    return narrowest.clamp(min=0).sqrt() < _COLLAPSED


def _mark_collapsed(ax: Any, means: Tensor, collapsed: Tensor) -> None:
    """Rings around the centers of components that can hardly be seen, and their names."""
    numbers = collapsed.nonzero()[:, 0].tolist()
    few = ", ".join(map(str, numbers[:_MOST_NAMED])) + (", ..." * (len(numbers) > _MOST_NAMED))
    label = f"collapsed: component{'s' * (len(numbers) > 1)} {few}"
    style = {"s": 190, "facecolor": "none", "edgecolor": HIGHLIGHT, "linewidth": 1.6, "zorder": 4}
    ax.scatter(*means[collapsed].T, label=label, **style)


def _checked_rows(mixture: GaussianMixture, x: Any) -> Table:
    """Checks a mixture and rows that fit it, and returns these."""
    got = type(mixture).__name__
    check(isinstance(mixture, GaussianMixture), "mixture", "a GaussianMixture", got)
    check(mixture.batch_shape == (), "mixture", "no batch", tuple(mixture.batch_shape))
    table, n_features = as_table("x", x), mixture.n_features
    shape = tuple(table.values.shape)
    fits = len(shape) == 2 and shape[0] > 0 and shape[1] == n_features
    check(fits, "x", f"rows (n, {n_features}), at least one", shape)
    table = table.like("the mixture", mixture.means)
    table.check_finite(mixture_rule(mixture.missing))
    return table


def _draw_ellipse(ax: Any, center: list[float], matrix: Tensor, color: Any) -> None:
    """Draws what holds the mass of a Gaussian in two dimensions."""
    from matplotlib.patches import Ellipse
    from scipy.stats import chi2

    lengths, directions = torch.linalg.eigh(matrix)
    width, height = (2 * chi2.ppf(_MASS, 2) ** 0.5 * lengths.clamp(min=0).sqrt()).tolist()
    angle = float(torch.atan2(directions[1, 0], directions[0, 0]).rad2deg())
    style = {"fill": False, "color": color, "linewidth": 1.6}
    ax.add_patch(Ellipse(center, width, height, angle=angle, **style))


def _draw_contours(ax: Any, mixture: GaussianMixture, collapsed: Tensor) -> None:
    """Draws the contours of a density in two dimensions over all of the axes."""
    ax.autoscale_view()
    limits = {"xlim": ax.get_xlim(), "ylim": ax.get_ylim()}
    ends = limits.values()
    scale = mixture.covariance.dense(mixture.n_components, 2).diagonal(dim1=-2, dim2=-1).sqrt()
    sound = ~collapsed if not collapsed.all() else collapsed
    axis = [
        axis_over(low, high, mixture.means[sound, d], scale[sound, d], _MOST_ADDED)
        for d, (low, high) in enumerate(ends)
    ]
    grid = torch.stack(torch.meshgrid(*axis, indexing="xy"), -1)
    with torch.no_grad():
        density = mixture.log_prob(grid)
        top = float(mixture.log_prob(mixture.means[sound]).max())  # not of what is a spike
    style = {"colors": FAINT, "linewidths": 0.8, "linestyles": "solid", "zorder": 0}
    ax.contour(*axis, density, levels=np.linspace(top - 6, top, 7), **style)
    ax.set(**limits)
