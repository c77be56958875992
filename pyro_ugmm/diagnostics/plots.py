"""Plots of training, and of posteriors against priors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..checks import check, check_choice
from ..models import BayesianModel
from ..training import FitResult
from .axes import given_or_new, legend_above
from .groups import check_inference_data
from .positions import check_place

if TYPE_CHECKING:
    from arviz import InferenceData
    from matplotlib.axes import Axes

__all__ = ["plot_losses", "plot_prior_posterior"]

_POSTERIOR, _PRIOR = "C0", "0.45"
_GROUPS = ("posterior", "prior")
_LEAST_SHARE = 0.1
_ROUNDING = 1e-6


def _finite(losses: torch.Tensor) -> torch.Tensor:
    """Losses with NaN for what cannot be drawn."""
    losses = losses.detach().cpu().double()
    return torch.where(losses.isfinite(), losses, torch.nan)


def plot_losses(results: Mapping[str, FitResult] | FitResult, ax: Any = None) -> "Axes":
    """Draws the loss of each step of one or several runs, in nats, with its running mean.

    Where a run settled, a dotted line is at the step from which on its parameters are averaged.
    Losses that are not finite leave gaps.

    Args:
        results: one result, or several by name.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if a result is none, or of a run without steps.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import plot_losses
        >>> from pyro_ugmm.models import UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.training import fit_mle
        >>> model, y = UGMMClassifier(UGMMNetwork([2, 4, 3])), torch.arange(30) % 3
        >>> result = fit_mle(model, torch.randn(30, 2), y, steps=20, progress=False)
        >>> plot_losses({"maximum likelihood": result}).get_ylabel()
        'loss (nats)'
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    ax = given_or_new(ax)
    named = results if isinstance(results, Mapping) else {"loss": results}
    got = [type(result).__name__ for result in named.values()]
    valid = bool(named) and all(isinstance(result, FitResult) for result in named.values())
    check(valid, "results", "a FitResult, or several by name", ", ".join(got) or "none")
    empty = [name for name, result in named.items() if not result.n_steps]
    check(not empty, "results", "runs of at least one step", empty)
    drawn = {name: _finite(result.losses) for name, result in named.items()}
    lowest = min(
        (float(x[~x.isnan()].min()) for x in drawn.values() if not x.isnan().all()), default=0
    )
    settled = False
    for i, (name, result) in enumerate(named.items()):
        losses = drawn[name]
        window = max(1, len(losses) // 50)
        mean = losses.unfold(0, window, 1).mean(-1)
        ax.plot(losses, color=f"C{i}", alpha=0.25, linewidth=0.8)
        label = f"{name} (never finite)" if losses.isnan().all() else name
        ax.plot(torch.arange(len(mean)) + (window - 1) / 2, mean, color=f"C{i}", label=label)
        if result.averaged_from is not None:
            note = "settled: parameters averaged from here on" if not settled else None
            ax.axvline(result.averaged_from, color=f"C{i}", linestyle=":", label=note)
            settled = True
    ax.set(xlabel="step", ylabel="loss (nats)")
    if lowest > 0:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    legend_above(ax)
    return ax


def plot_prior_posterior(
    model: BayesianModel,
    idata: "InferenceData",
    site: str,
    index: int | Sequence[int],
    ax: Any = None,
) -> "Axes":
    """Draws the posterior density of one parameter over its prior density.

    Args:
        model: the model, for the prior.
        idata: the posterior, from :func:`to_inference_data`.
        site: a latent site, such as ``layers.0.loc``, or ``means`` of a mixture.
        index: the parameter's position in the site, such as ``(neuron, input)``, or one number.
        ax: the axes to draw in; new ones if None.

    Raises:
        ValueError: if there is no such site or position, or no draws of it.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import plot_prior_posterior, to_inference_data
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
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
    ax, (low, high) = given_or_new(ax), _limits(draws, prior_draws)
    line = _draw_density(ax, draws, color=_POSTERIOR, label="posterior")
    if line is not None:
        ax.fill_between(*line, color=_POSTERIOR, alpha=0.25)
    prior, style = model.marginal_prior(site, *place), {"color": _PRIOR, "linestyle": "--"}
    if prior is None:
        _draw_density(ax, prior_draws, **style, label="prior")
    else:
        values = torch.linspace(low, high, 400).to(prior.sample())
        values = values[prior.support.check(values)]
        ax.plot(values, prior.log_prob(values).exp(), **style, label="prior")
    name = f"{site}[{', '.join(map(str, place))}]"
    ax.set(xlim=(low, high), ylim=(0, None), yticks=[], xlabel=name)
    legend_above(ax)
    return ax


def _finite_draws(
    idata: "InferenceData", group: str, site: str, place: tuple[int, ...]
) -> np.ndarray:
    """The draws of one number that are finite."""
    draws = idata[group][site].values[(..., *place)].reshape(-1).astype(float)
    finite = draws[np.isfinite(draws)]
    check(len(finite), "idata", f"finite draws of {site} in {group}", f"{draws[:3]} and so on")
    return finite


def _is_constant(draws: np.ndarray) -> bool:
    return bool(np.ptp(draws) <= _ROUNDING * np.abs(draws).max())


def _draw_density(ax: Any, draws: np.ndarray, **style: Any) -> tuple[np.ndarray, ...] | None:
    """Draws the density of draws, and returns it; or a line where they are one number."""
    from ._arviz import arviz

    if _is_constant(draws):
        ax.axvline(draws[0], **style)
        return None
    line = arviz.kde(draws)
    ax.plot(*line, **style)
    return line


def _limits(draws: np.ndarray, prior_draws: np.ndarray) -> tuple[float, float]:
    """Limits of nearly all of both, if the posterior does not become a sliver of that."""
    least, most = draws.min(), np.quantile(draws, 0.995)
    if _is_constant(draws) or least == most:
        least, most = least - 0.05 * (abs(least) or 1), least + 0.05 * (abs(least) or 1)
    around = (most - least) / _LEAST_SHARE / 2
    low, high = np.quantile(prior_draws, [0.05, 0.95])
    return max(min(low, least), least - around), min(max(high, most), most + around)
