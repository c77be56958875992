"""Draws the pictures of README and guide into ``docs/images``. Run as ``make pictures``."""

from pathlib import Path

import matplotlib
import torch
from matplotlib.figure import Figure

from pyro_ugmm.datasets import iris
from pyro_ugmm.demo import figures, train_both
from pyro_ugmm.diagnostics import to_inference_data
from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.guides import full_rank
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.plots import plot_density, plot_mixture
from pyro_ugmm.training import fit_svi

IMAGES = Path(__file__).parent / "images"
PETAL_LENGTH = 2


def uncertainty() -> Figure:
    """Where a Bayesian network of Iris is unsure."""
    data = iris()
    x = (data.x - data.x.mean(0)) / data.x.std(0)
    trained = train_both(x, data.y, seed=0, svi_steps=2000, progress=True)
    return figures.uncertainty(trained.model, trained.guide, x, data.y, data)


def mixture() -> Figure:
    """What the priors of a mixture think of before the data, and after."""
    import matplotlib.pyplot as plt

    data = iris()
    start = EMFitter().fit(data.x, initialize(data.x, n_components=3, n_init=5, seed=0))
    torch.manual_seed(0)
    model = BayesianGaussianMixture(3, 4, priors=Priors.from_data(data.x))
    guide = full_rank(model, start=start.mixture, x=data.x)
    fit_svi(model, guide, data.x, learning_rate=0.02, num_particles=8, seed=0)
    idata = to_inference_data(model, guide, data.x, num_samples=1000, seed=0)
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharex=True)
    for ax, group, title in zip(
        axes, ("prior", "posterior"), ("before the data", "after"), strict=True
    ):
        plot_density(model, idata, data.x, PETAL_LENGTH, group=group, ax=ax)
        ax.set(title=title, xlabel=f"{data.feature_names[PETAL_LENGTH]} (cm)")
    figure.suptitle("A Bayesian mixture of three components on Iris")
    return figure


def outliers() -> Figure:
    """Two clusters among rows all over the place, without a background and with one."""
    import matplotlib.pyplot as plt

    torch.manual_seed(0)
    clusters = torch.randn(200, 2) - 4, 0.5 * torch.randn(200, 2) + 3
    x = torch.cat([*clusters, 24 * torch.rand(40, 2) - 12])
    start = initialize(x, 2, seed=0)
    figure, axes = plt.subplots(
        1, 2, figsize=(9, 4), layout="constrained", sharex=True, sharey=True
    )
    for ax, background, title in zip(
        axes, (None, "box"), ("two components", "beside a background"), strict=True
    ):
        plot_mixture(EMFitter().fit(x, start, background=background).distribution, x, ax=ax)
        ax.set(title=title)
    return figure


def main() -> None:
    """Draws all."""
    matplotlib.use("Agg")
    for draw in (uncertainty, mixture, outliers):
        draw().savefig(IMAGES / f"{draw.__name__}.png", dpi=110)
        print("wrote", IMAGES / f"{draw.__name__}.png")


if __name__ == "__main__":
    main()
