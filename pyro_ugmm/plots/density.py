"""The density of one feature under a mixture's prior or posterior."""

from typing import TYPE_CHECKING, Any

import torch

from ..checks import check
from ..diagnostics import mixture_draws
from ..models import BayesianGaussianMixture
from ..precision import full_precision
from ..tables import as_table
from .positions import check_position
from .style import DATA, POSTERIOR, SQUARE, add_legend, axes_for, draw_bands

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..diagnostics.arviz_interface import InferenceData

__all__ = ["plot_density"]

_MOST_BINS, _GRID, _MARGIN = 30, 300, 0.15
_MOST_DRAWS = 400


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

    Or that of the prior: a check, before any fit, of what densities it thinks of.

    Args:
        model: the model.
        idata: its draws, from :func:`to_inference_data`; labels may switch.
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
    grid = torch.linspace(least - margin, most + margin, _GRID).to(values)
    with torch.no_grad():
        density = mixtures.marginal([feature]).log_prob(grid.unsqueeze(-1)).exp().cpu()
    grid = grid.cpu()
    ax.hist(
        values.cpu(),
        bins=min(_MOST_BINS, round(2 * len(values) ** 0.5)),
        density=True,
        color=DATA,
        label="data",
    )
    draw_bands(ax, grid, density, "{} band")
    ax.plot(grid, density.mean(0), color=POSTERIOR, label=f"{group} predictive")
    ax.set(xlabel=name, ylabel="density", ylim=(0, None))
    add_legend(ax)
    return ax
