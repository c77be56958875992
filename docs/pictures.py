"""Draws the pictures of README, guide and gallery into ``docs/images``. Run as ``make pictures``.

Those of the gallery are drawn by the code that stands there, block by block.
"""

import re
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

DOCS = Path(__file__).parent
IMAGES, GALLERY = DOCS / "images", DOCS / "gallery.md"
PETAL_LENGTH = 2
MOST_BYTES = 120_000
RESOLUTIONS = (110, 100, 90, 80)  # the first at which a picture is small enough


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
    idata = to_inference_data(model, guide, data.x, num_samples=2000, seed=0)
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


def gallery() -> None:
    """Runs the code of the gallery, and keeps the picture of each block under its name there."""
    import matplotlib.pyplot as plt

    blocks = re.findall(
        r"^```python\n(.*?)^```(?:\n+!\[[^]]*\]\(images/(\w+)\.png\))?",
        GALLERY.read_text(),
        re.S | re.M,
    )
    scope: dict = {"__name__": "__main__"}
    for code, name in blocks:
        exec(compile(code, str(GALLERY), "exec"), scope)
        if name:
            keep(plt.gcf(), name)
        plt.close("all")


def keep(figure: Figure, name: str) -> None:
    """Writes a picture, small enough for a repository."""
    path = IMAGES / f"{name}.png"
    for dpi in RESOLUTIONS:
        figure.savefig(path, dpi=dpi, pil_kwargs={"optimize": True})
        if path.stat().st_size <= MOST_BYTES:
            break
    print("wrote", path)


def main() -> None:
    """Draws all."""
    matplotlib.use("Agg")
    for draw in (uncertainty, mixture, outliers):
        keep(draw(), draw.__name__)
    gallery()


if __name__ == "__main__":
    main()
