"""The posterior of a parameter over its prior."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..checks import check, check_choice
from ..diagnostics.arviz_interface import check_inference_data
from ..models import BayesianModel
from .curves import draws_density
from .legends import add_legend
from .positions import check_place
from .style import POSTERIOR, PRIOR, axes_for, label_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..diagnostics.arviz_interface import InferenceData

__all__ = ["plot_prior_posterior"]

_GROUPS, _ENDS = ("posterior", "prior"), ("lower", "upper")
_LEAST_SHARE = 0.1
_ROUNDING = 16  # in units of the last digit


def plot_prior_posterior(
    model: BayesianModel,
    idata: "InferenceData",
    site: str,
    index: int | Sequence[int],
    *,
    ax: Any = None,
) -> "Axes":
    """Draws the posterior density of one parameter over its prior density.

    Args:
        model: the model, for the prior.
        idata: the posterior, from :func:`pyro_ugmm.diagnostics.to_inference_data`.
        site: a latent site, such as ``layers.0.loc``, or ``means`` of a mixture.
        index: the parameter's position in the site, such as ``(neuron, input)``, or one number;
            where ``idata`` has names, the axis has them.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if there is no such site or position, or no draws of it.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import to_inference_data
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> from pyro_ugmm.plots import plot_prior_posterior
        >>> x = torch.cat([torch.randn(20, 1) - 3, torch.randn(20, 1) + 3])
        >>> model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
        >>> idata = to_inference_data(model, mean_field(model), x, num_samples=100, seed=0)
        >>> plot_prior_posterior(model, idata, "means", (0, 0)).get_xlabel()
        'means[0, 0]'
    """
    check(isinstance(model, BayesianModel), "model", "a BayesianModel", type(model).__name__)
    check_inference_data(idata)
    check_inference_data(idata, "prior")
    sites = sorted(model.site_distributions())
    site = check_choice("site", site, sites)
    for group in _GROUPS:
        check(site in idata[group], "idata", f"draws of {site}", f"{[*idata[group]]} in {group}")
    shape = idata.posterior[site].shape[2:]
    place = check_place("index", index, shape, f"{len(shape)} numbers within {shape}")
    draws, prior_draws = (_finite_draws(idata, group, site, place) for group in _GROUPS)
    prior, style = model.marginal_prior(site, *place), {"color": PRIOR, "linestyle": "--"}
    bounds = [getattr(getattr(prior, "support", None), f"{end}_bound", None) for end in _ENDS]
    bounds = [None if bound is None else float(bound) for bound in bounds]
    ax = axes_for(ax)
    line = _draw_density(ax, draws, bounds, color=POSTERIOR, label="posterior")
    if line is not None:
        ax.fill_between(*line, color=POSTERIOR, alpha=0.25, linewidth=0)
    low, high = _limits(draws if line is None else line[0], prior_draws)
    if prior is None:
        _draw_density(ax, prior_draws, bounds, **style, label="prior")
    else:
        values = torch.linspace(low, high, 400).to(prior.sample())
        values = values[prior.support.check(values)]
        ax.plot(values, prior.log_prob(values).exp(), **style, label="prior")
    label_axes(ax, f"{site}[{', '.join(_names(idata.posterior[site], place))}]", "density")
    ax.set(xlim=(low, high), ylim=(0, None), yticks=[])
    add_legend(ax)
    return ax


def _names(variable: Any, place: tuple[int, ...]) -> list[str]:
    """What is known of a place in a site: the names of its coordinates, or their numbers."""
    names = []
    for dim, at in zip(variable.dims[2:], place, strict=True):
        name = variable.coords[dim].values[at] if dim in variable.coords else at
        names.append(str(name))
    return names


def _finite_draws(
    idata: "InferenceData", group: str, site: str, place: tuple[int, ...]
) -> np.ndarray:
    """The draws of one number that are finite."""
    draws = idata[group][site].values[(..., *place)].reshape(-1).astype(float)
    finite = draws[np.isfinite(draws)]
    check(len(finite), "idata", f"finite draws of {site} in {group}", f"{draws[:3]} and so on")
    return finite


def _is_constant(draws: np.ndarray) -> bool:
    rounding = np.finfo(np.float32 if (draws == draws.astype(np.float32)).all() else float).eps
    return bool(np.ptp(draws) <= _ROUNDING * rounding * np.abs(draws).max())


def _draw_density(
    ax: Any, draws: np.ndarray, bounds: Sequence[float | None], **style: Any
) -> tuple[np.ndarray, ...] | None:
    """Draws the density of draws, and returns it; or a line where they are one number."""
    if _is_constant(draws):
        ax.axvline(draws[0], **style)
        return None
    line = draws_density(draws, *bounds)
    ax.plot(*line, **style)
    return line


def _limits(draws: np.ndarray, prior_draws: np.ndarray) -> tuple[float, float]:
    """Limits of both, but for the prior's tails, if the posterior is no sliver of that."""
    low, high = np.quantile(prior_draws, [0.05, 0.95])
    least, most = draws.min(), draws.max()
    if _is_constant(draws):
        if _is_constant(prior_draws) or low == high:
            low, high = least - 0.5 * (abs(least) or 1), least + 0.5 * (abs(least) or 1)
        margin = 0.05 * (max(high, most) - min(low, least))
        return min(low, least - margin), max(high, most + margin)
    around = (most - least) / _LEAST_SHARE / 2
    return max(min(low, least), least - around), min(max(high, most), most + around)
