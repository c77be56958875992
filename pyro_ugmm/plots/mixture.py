"""A mixture in two dimensions, over its rows."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check
from ..distributions import BackgroundMixture, GaussianMixture
from ..missing_values import mixture_rule
from ..precision import full_precision
from ..tables import Table, as_table
from .positions import check_pair
from .style import FAINT, OUTSIDE, SQUARE, axes_for, colors, note_of_hidden, outlined

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_mixture"]

_GRID, _MASS = 120, 0.9


@full_precision
def plot_mixture(
    mixture: GaussianMixture | BackgroundMixture,
    x: Any,
    dims: tuple[int | str, int | str] = (0, 1),
    *,
    ax: Any = None,
) -> "Axes":
    """Draws rows, colored by their most probable component, and the components' ellipses.

    An ellipse holds 90 percent of its component's mass in the two dimensions drawn; the number
    beside its center is the component's. Gray lines are contours of the marginal density, crosses
    are rows that are more probably of a background.

    Args:
        mixture: without a batch, or one beside a background.
        x: rows, shape ``(n, D)``: a tensor, an array or a data frame.
        dims: the two dimensions to draw, by number; of a data frame, by name too.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if the mixture has a batch or one dimension, or the rows do not fit it.

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
    dims = check_pair("dims", dims, mixture.n_features, table.labels)
    names = table.labels or [f"dimension {d}" for d in range(mixture.n_features)]
    ax = axes_for(ax, SQUARE)
    x = table.values.detach()
    with torch.no_grad():
        component, rows = whole.predict(x).cpu(), x[:, list(dims)].cpu()
        marginal = mixture.marginal(list(dims)).to("cpu")
        matrices = marginal.covariance.dense(mixture.n_components, 2)
    for k, color in enumerate(colors(mixture.n_components)):
        ax.scatter(*rows[component == k].T, s=9, color=color, alpha=0.6, linewidth=0)
        center = marginal.means[k].tolist()
        _draw_ellipse(ax, center, matrices[k], color)
        place = {"ha": "center", "va": "center", "path_effects": outlined()}
        ax.annotate(str(k), center, color="black", weight="bold", **place)
    ax.scatter(*rows[component < 0].T, s=14, color=OUTSIDE, marker="x", linewidth=0.9)
    _draw_contours(ax, marginal)
    ax.set(xlabel=f"{names[dims[0]]}{note_of_hidden(rows)}", ylabel=names[dims[1]])
    return ax


def _checked_rows(mixture: GaussianMixture, x: Any) -> Table:
    """Checks a mixture and rows that fit it, and returns these."""
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
    style = {"colors": FAINT, "linewidths": 0.8, "linestyles": "solid", "zorder": 0}
    ax.contour(*axis, density, levels=np.linspace(top - 6, top, 7), **style)
    ax.set(**limits)
