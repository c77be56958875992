"""The density of one feature under a mixture's prior or posterior."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..checks import check
from ..diagnostics import mixture_draws
from ..models import BayesianGaussianMixture
from ..precision import full_precision
from ..tables import as_table
from .curves import axis_over, bin_edges, draw_bands
from .legends import add_legend
from .positions import check_position
from .style import DATA, POSTERIOR, SQUARE, axes_for, label_axes, number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..diagnostics.arviz_interface import InferenceData

__all__ = ["plot_density"]

_MARGIN = 0.15
_MOST_DRAWS, _MOST_ADDED = 2000, 300
_SMOOTHING = {"posterior": (0.4, 0.05), "prior": (1.0, 0.5)}  # of a quantile of the widths
_MOST_READ = 1_000_000
_MOST_HEIGHT, _ROOM = 3, 1.5  # of what a histogram shows


@full_precision
def plot_density(
    model: BayesianGaussianMixture,
    idata: "InferenceData",
    x: Any,
    feature: int | str = 0,
    *,
    group: str = "posterior",
    ax: Any = None,
) -> "Axes":
    """Draws the posterior of one feature's density, as bands, over a histogram of the data.

    Or that of the prior: a check, before any fit, of what densities it thinks of. Spikes far above
    what a histogram would show are cut off, and the axis says so.

    Args:
        model: the model.
        idata: its draws, from :func:`pyro_ugmm.diagnostics.to_inference_data`; labels may switch.
        x: rows, shape ``(n, D)``: a tensor, an array or a data frame.
        feature: the feature drawn, by number; by name too, if ``idata`` or a data frame has names.
        group: ``"posterior"`` or ``"prior"``.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if the rows do not fit the model, or there is no such feature or group.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import to_inference_data
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> from pyro_ugmm.plots import plot_density
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
    name = names[feature] if names else f"feature {feature}"
    ax = axes_for(ax, SQUARE)
    values = x.detach()[:, feature]
    values = values[values.isfinite()]
    check(len(values), "feature", "one of which x has a value", f"{feature}, which is missing")
    least, most = float(values.min()), float(values.max())
    margin = _MARGIN * (most - least) or 1.0
    with torch.no_grad():
        marginals = mixtures.marginal([feature])
        loc = marginals.means[..., 0]
        scale = marginals.covariance.dense(marginals.n_components, 1)[..., 0, 0].sqrt()
        grid = axis_over(least - margin, most + margin, loc, scale.expand(loc.shape), _MOST_ADDED)
        density = marginals.log_prob(grid.unsqueeze(-1)).exp().cpu()
    grid = grid.cpu()
    edges, mean = bin_edges(values), density.mean(0)
    heights = ax.hist(values.cpu(), bins=edges, density=True, color=DATA, label="data")[0]
    share, level = _SMOOTHING[group]
    widths = scale.flatten()[:: -(-scale.numel() // _MOST_READ)]
    draw_bands(ax, grid, density, "{} band", share * widths.quantile(level).cpu())
    ax.plot(grid, mean, color=POSTERIOR, label=f"{group} predictive")
    label_axes(ax, name, "density")
    ax.set(ylim=(0, None))
    shown = max(heights.max(), _bin_heights(grid.numpy(), mean.numpy(), edges).max())
    if mean.max() > _MOST_HEIGHT * shown:
        ax.set_ylim(top=_ROOM * shown)
        label_axes(ax, y=f"density (a spike of {number_text(float(mean.max()))} is cut off)")
    add_legend(ax)
    return ax


def _bin_heights(x: np.ndarray, density: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """What a histogram of many rows of a density would show."""
    mass = np.concatenate([[0], np.cumsum(np.diff(x) * (density[1:] + density[:-1]) / 2)])
    return np.diff(np.interp(edges, x, mass)) / np.diff(edges)
