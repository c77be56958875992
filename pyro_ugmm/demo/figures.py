"""The demo's figures."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..distributions import count_modes
from ..em.selection import Selection
from ..plots import (
    plot_density,
    plot_mixture,
    plot_neuron,
    plot_regression,
    plot_selection,
    plot_uncertainty,
)
from .mixture import Bayesian, telling_features
from .network import Trained
from .table import DemoTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["density", "mixture", "neurons", "regression", "selection", "uncertainty"]


def _panels(count: int, **options: bool) -> "tuple[Figure, list[Axes]]":
    import matplotlib.pyplot as plt

    width = 6.4 if count == 1 else 10
    figure, axes = plt.subplots(
        1, count, figsize=(width, 4), layout="constrained", squeeze=False, **options
    )
    return figure, [*axes[0]]


def selection(found: Selection) -> "Figure":
    """The criterion over the number of components."""
    figure, (ax,) = _panels(1)
    plot_selection(found, ax=ax)
    ax.set_title("How many components")
    return figure


def mixture(found: Selection, table: DemoTable) -> "Figure":
    """The best mixture, in the two features between which its components differ most."""
    best = found.best.result.mixture
    features = telling_features(found, table, 2)
    dims = (features[0], features[1]) if len(features) == 2 else features[0]
    figure, (ax,) = _panels(1)
    plot_mixture(best, table.frame, dims, ax=ax)
    ax.set_title(f"{table.name}: {best.n_components} components by EM")
    return figure


def density(found: Bayesian) -> "Figure":
    """One feature's density, before the data and after."""
    feature = min(2, found.rows.shape[1] - 1)
    figure, axes = _panels(2, sharex=True)
    for ax, group, title in zip(
        axes, ("prior", "posterior"), ("before the data", "after"), strict=True
    ):
        plot_density(found.model, found.idata, found.rows, feature, group=group, ax=ax)
        ax.set(title=title, xlabel=found.rows.columns[feature])
    return figure


def neurons(trained: Trained, table: DemoTable) -> "Figure":
    """The two neurons of the first layer whose densities have most bumps."""
    nodes = trained.network.layers[0].nodes
    shown = count_modes(nodes).argsort(descending=True, stable=True)[:2].tolist()
    figure, axes = _panels(len(shown))
    for ax, neuron in zip(axes, shown, strict=True):
        plot_neuron(nodes, neuron, ax=ax, names=table.feature_names)
        ax.set(title=f"neuron {neuron}", xlabel="input (standard units)")
    figure.suptitle("Neurons of the network at maximum likelihood")
    return figure


def uncertainty(trained: Trained, x: Tensor, y: Tensor, table: DemoTable) -> "Figure":
    """Predictive uncertainty over the two features that tell classes apart best."""
    figure, axes = _panels(2, sharey=True)
    pair = _telling(x, y)
    names = [f"{name.removesuffix(' (cm)')} (standard units)" for name in table.feature_names]
    plot_uncertainty(
        trained.model,
        trained.guide,
        x,
        y,
        (pair[0], pair[1]),
        names=names,
        class_names=table.class_names,
        seed=0,
        ax=axes,
    )
    figure.suptitle("Where the network is unsure (other features at their medians)")
    return figure


def _telling(x: Tensor, y: Tensor) -> list[int]:
    """The two features whose means differ most between classes."""
    means = torch.stack([x[y == c].nanmean(0) for c in y.unique()])
    return sorted(means.var(0).nan_to_num().argsort(descending=True)[:2].tolist())


def regression(trained: Trained, x: Tensor, y: Tensor, table: DemoTable) -> "Figure":
    """Quantiles of the target over the feature that goes with it most."""
    together = torch.stack([_correlation(column, y) for column in x.T])
    feature = int(together.abs().argmax())
    figure, (ax,) = _panels(1)
    names = [f"{name} (standard units)" for name in table.feature_names]
    plot_regression(trained.model, trained.guide, x, y, feature, names=names, seed=0, ax=ax)
    ax.set_ylabel(table.target)
    ax.set_title("Predicted, and rows held out")
    return figure


def _correlation(column: Tensor, y: Tensor) -> Tensor:
    seen = ~column.isnan()
    pair = torch.stack([column[seen], y[seen]])
    return torch.corrcoef(pair)[0, 1].nan_to_num()
