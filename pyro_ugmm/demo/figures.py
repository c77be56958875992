"""The demo's figures."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..datasets import LabeledData
from ..distributions import UnivariateGaussianMixture
from ..models import UGMMClassifier
from ..plots import plot_losses, plot_neuron, plot_prior_posterior, plot_uncertainty
from . import Trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["losses", "neurons", "prior_posterior", "surest", "uncertainty"]


def surest(model: UGMMClassifier, idata: Any, count: int) -> list[tuple[int, int]]:
    """Finds, in different neurons, the first layer's means that the data say most about.

    These are the ones whose posterior standard deviation is the smallest part of their prior's.
    """
    prior = model.site_distributions()["layers.0.loc"]
    posterior = torch.as_tensor(idata.posterior["layers.0.loc"].values).flatten(0, 1)
    shrinkage = posterior.std(0) / prior.variance.sqrt().cpu()
    least = shrinkage.min(1)
    neurons = least.values.argsort()[:count].tolist()
    return [(neuron, int(least.indices[neuron])) for neuron in neurons]


def losses(trained: Trained) -> "Figure":
    """Both trainings, step by step."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for ax, result, title, label in (
        (axes[0], trained.mle, "maximum likelihood, with dropout", "negative log-likelihood"),
        (axes[1], trained.svi, "SVI", "negative ELBO"),
    ):
        plot_losses({"running mean": result}, ax=ax)
        ax.set(title=title, ylabel=f"{label} (nats)")
    figure.suptitle("Training a [4, 8, 3] network on Iris")
    return figure


def prior_posterior(model: UGMMClassifier, idata: Any, data: LabeledData) -> "Figure":
    """Means and variances of two components, posterior against prior."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 5.5), layout="constrained")
    sites = (("layers.0.loc", "mean"), ("layers.0.variance", "variance"))
    for row, (site, word) in zip(axes, sites, strict=True):
        for ax, (neuron, feature) in zip(row, surest(model, idata, 2), strict=True):
            plot_prior_posterior(model, idata, site, (neuron, feature), ax=ax)
            name = data.feature_names[feature]
            kind = data.class_names[neuron]
            ax.set_xlabel(f"{word} for {name}, neuron of {kind} (standard units)")
    figure.suptitle("What the data taught: the two components they say most about")
    return figure


def neurons(model: UGMMClassifier, idata: Any, data: LabeledData) -> "Figure":
    """The densities of the neurons of two classes, with posterior bands."""
    import matplotlib.pyplot as plt

    loc, variance, weights = (
        torch.as_tensor(idata.posterior[f"layers.0.{name}"].values).flatten(0, 1)
        for name in ("loc", "variance", "weights")
    )
    nodes = UnivariateGaussianMixture(loc, variance.sqrt(), probs=weights)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for ax, (neuron, _) in zip(axes, surest(model, idata, 2), strict=True):
        plot_neuron(nodes, neuron, ax=ax)
        ax.set(title=f"neuron of {data.class_names[neuron]}", xlabel="y (standard units)")
    figure.suptitle("Two neurons, each a mixture of four Gaussians, with posterior bands")
    return figure


def uncertainty(
    model: UGMMClassifier, inference: Any, x: Tensor, y: Tensor, data: LabeledData
) -> "Figure":
    """Predictive uncertainty over the petals' length and width."""
    names = [f"{name} (standard units)" for name in data.feature_names]
    axes = plot_uncertainty(
        model, inference, x, y, (2, 3), names=names, class_names=data.class_names, seed=0
    )
    figure = axes[0].figure
    figure.suptitle("Where the Bayesian network is unsure (sepals at their medians)")
    return figure
