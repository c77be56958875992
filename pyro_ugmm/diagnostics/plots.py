"""Plots of training, posteriors, neurons and predictive uncertainty."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pyro.infer import MCMC
from torch import Tensor

from ..checks import check
from ..models import BayesianModel
from ..models.network import NetworkModel
from ..training import FitResult
from .axes import given_or_new
from .groups import check_inference_data
from .probabilities import class_probabilities

if TYPE_CHECKING:
    from arviz import InferenceData
    from matplotlib.axes import Axes

__all__ = ["plot_losses", "plot_prior_posterior", "plot_uncertainty"]

_POSTERIOR, _PRIOR = "C0", "0.45"


def plot_losses(results: Mapping[str, FitResult] | FitResult, ax: Any = None) -> "Axes":
    """Draws the loss of each step of one or several runs, in nats, with its running mean.

    Where a run settled, a dotted line is at the step from which on its parameters are averaged.

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
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    ax = given_or_new(ax)
    valid = isinstance(results, FitResult | Mapping)
    check(valid, "results", "a FitResult, or several by name", type(results).__name__)
    named = {"loss": results} if isinstance(results, FitResult) else dict(results)
    empty = [name for name, result in named.items() if not result.n_steps]
    check(not empty, "results", "runs of at least one step", empty)
    lowest = min(float(result.losses.min()) for result in named.values())
    settled = False
    for i, (name, result) in enumerate(named.items()):
        losses = result.losses.double()
        window = max(1, len(losses) // 50)
        mean = losses.unfold(0, window, 1).mean(-1)
        ax.plot(losses, color=f"C{i}", alpha=0.25, linewidth=0.8)
        ax.plot(torch.arange(len(mean)) + window / 2, mean, color=f"C{i}", label=name)
        if result.averaged_from is not None:
            label = "settled: parameters averaged from here on" if not settled else None
            ax.axvline(result.averaged_from, color=f"C{i}", linestyle=":", label=label)
            settled = True
    ax.set(xlabel="step", ylabel="loss (nats)")
    if lowest > 0:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend()
    return ax


def plot_prior_posterior(
    model: BayesianModel,
    idata: "InferenceData",
    site: str,
    index: Sequence[int],
    ax: Any = None,
) -> "Axes":
    """Draws the posterior density of one parameter over its prior density.

    Args:
        model: the model, for the prior.
        idata: the posterior, from :func:`to_inference_data`.
        site: a latent site, such as ``layers.0.loc``, or ``means`` of a mixture.
        index: the parameter's position in the site, such as ``(neuron, input)``.
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
    from ._arviz import arviz

    check_inference_data(idata)
    check_inference_data(idata, "prior")
    sites = sorted(model.site_distributions())
    check(site in sites, "site", f"one of {sites}", repr(site))
    index = tuple(index)
    shape = idata.posterior[site].shape[2:]
    check(len(index) == len(shape), "index", f"{len(shape)} numbers", index)
    inside = all(0 <= i < size for i, size in zip(index, shape, strict=True))
    check(inside, "index", f"within {shape}", index)
    ax = given_or_new(ax)
    draws, prior_draws = (
        idata[group][site].values[(..., *index)].reshape(-1).astype(float)
        for group in ("posterior", "prior")
    )
    grid, density = arviz.kde(draws)
    ax.plot(grid, density, color=_POSTERIOR, label="posterior")
    ax.fill_between(grid, density, color=_POSTERIOR, alpha=0.25)
    # Wide enough for nearly all of both, whatever the tail of the prior.
    low, high = np.quantile(prior_draws, [0.05, 0.95])
    low, high = min(low, draws.min()), max(high, np.quantile(draws, 0.995))
    prior = model.marginal_prior(site, *index)
    if prior is None:
        values, density = arviz.kde(prior_draws)
    else:
        values = torch.linspace(low, high, 400).to(prior.sample())
        values = values[prior.support.check(values)]
        density = prior.log_prob(values).exp()
    ax.plot(values, density, color=_PRIOR, linestyle="--", label="prior")
    name = f"{site}[{', '.join(map(str, index))}]"
    ax.set(xlim=(low, high), ylim=(0, None), yticks=[], xlabel=name)
    return ax


def plot_uncertainty(
    model: NetworkModel,
    inference: Callable | MCMC,
    x: Tensor,
    y: Tensor,
    features: tuple[int, int] = (0, 1),
    *,
    fixed: Tensor | None = None,
    num_samples: int = 200,
    seed: int | None = 0,
    axes: Sequence[Any] | None = None,
) -> "Sequence[Axes]":
    r"""Maps predictive uncertainty over two features, in bits, beside the data.

    The left map is the entropy of the posterior predictive, the right one the part of it that is
    about the parameters and that more data would remove: the mutual information
    :math:`H[\mathbb{E}_q p(y \mid x, \theta)] - \mathbb{E}_q H[p(y \mid x, \theta)]`
    (Houlsby and others 2011, arXiv:1112.5745).

    Args:
        model: the model.
        inference: its fitted guide, or MCMC that was run.
        x: features of the data to draw, shape ``(n, K)``.
        y: their labels, shape ``(n,)``.
        features: the two features mapped.
        fixed: values of all features, shape ``(K,)``, of which the other ones are kept; the
            medians of ``x`` if None.
        num_samples: the draws from a guide.
        seed: for the draws.
        axes: two axes to draw in; new ones if None.

    Raises:
        ValueError: if the model is not a network's, or the data or features do not fit it.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import plot_uncertainty
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import Priors, UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> model = UGMMClassifier(UGMMNetwork([2, 4, 3]), Priors())
        >>> x, y = torch.randn(30, 2), torch.arange(30) % 3
        >>> axes = plot_uncertainty(model, mean_field(model), x, y, num_samples=20)
        >>> [ax.get_title() for ax in axes]
        ['all predictive uncertainty', 'the part about the parameters']
    """
    import matplotlib.pyplot as plt

    check(isinstance(model, NetworkModel), "model", "a network's", type(model).__name__)
    model.check_data(x, y)
    valid = len(features) == len(set(features) & set(range(x.shape[1]))) == 2
    check(valid, "features", f"two different ones of 0 to {x.shape[1] - 1}", features)
    first, second = features
    n = 60
    ranges = []
    for feature in features:
        low, high = float(x[:, feature].min()), float(x[:, feature].max())
        margin = 0.35 * (high - low)
        ranges.append(
            torch.linspace(low - margin, high + margin, n, dtype=x.dtype, device=x.device)
        )
    grid = (x.median(0).values if fixed is None else fixed).expand(n * n, -1).clone()
    horizontal, vertical = torch.meshgrid(*ranges, indexing="xy")
    grid[:, first], grid[:, second] = horizontal.reshape(-1), vertical.reshape(-1)
    probs = class_probabilities(model, inference, grid, num_samples, seed)
    if axes is None:
        axes = plt.subplots(
            1, 2, layout="constrained", figsize=(10, 4.4), sharex=True, sharey=True
        )[1]

    def entropy(p: Tensor) -> Tensor:
        return -torch.xlogy(p, p).sum(-1) / torch.tensor(2.0).log()

    total = entropy(probs.mean(0))
    maps = {
        "all predictive uncertainty": total,
        "the part about the parameters": total - entropy(probs).mean(0),
    }
    mappable = None
    top = float(torch.tensor(float(model.n_classes)).log2())
    for ax, (title, values) in zip(axes, maps.items(), strict=True):
        mappable = ax.pcolormesh(
            *(axis.numpy(force=True) for axis in ranges),
            values.reshape(n, n).numpy(force=True),
            cmap="Greys",
            vmin=0,
            vmax=top,
            shading="gouraud",
        )
        for label in range(model.n_classes):
            rows = (y == label).cpu()
            ax.scatter(
                x.cpu()[rows, first],
                x.cpu()[rows, second],
                s=18,
                edgecolor="white",
                linewidth=0.5,
                label=f"class {label}",
            )
        ax.set_title(title)
    axes[0].figure.colorbar(mappable, ax=list(axes), label="entropy (bits)")
    return axes
