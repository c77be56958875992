"""Draws the pictures of README, guide and gallery into ``docs/images``. Run as ``make pictures``.

Those of the gallery are drawn by the code that stands there, block by block.
"""

import re
from pathlib import Path

import matplotlib
import pandas
import torch
from matplotlib.figure import Figure

from pyro_ugmm.datasets import iris
from pyro_ugmm.diagnostics import relabel, to_inference_data
from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMRegressor
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.plots import plot_density, plot_mixture, plot_regression
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.training import fit_svi

DOCS = Path(__file__).parent
IMAGES, GALLERY = DOCS / "images", DOCS / "gallery.md"
PETAL_LENGTH = 2
MOST_BYTES = 120_000
RESOLUTIONS = (110, 100, 90, 80)  # the first at which a picture is small enough


def readme() -> Figure:
    """A mixture by EM, the posterior of its density, and a regression by a network."""
    import matplotlib.pyplot as plt

    data = iris()
    frame = pandas.DataFrame(data.x, columns=[f"{name} (cm)" for name in data.feature_names])
    start = EMFitter().fit(frame, initialize(frame, n_components=2, seed=0)).mixture
    model = BayesianGaussianMixture(2, 4, priors=Priors.from_data(frame))
    sample = sample_posterior(model, frame, seed=0)
    idata = relabel(to_inference_data(model, sample, frame, seed=0))
    sepal, petal = frame.iloc[:, :1], frame.iloc[:, 2]
    torch.manual_seed(0)
    network = UGMMNetwork([1, 16, 10])
    network.reset_parameters(sepal)
    regression = UGMMRegressor.from_data(network, petal, Priors.from_data(sepal))
    guide = mean_field(regression)
    fit_svi(regression, guide, sepal, petal, seed=0)
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    plot_mixture(start, frame, (2, 3), ax=axes[0])
    plot_density(model, idata, frame, PETAL_LENGTH, ax=axes[1])
    plot_regression(regression, guide, sepal, petal, seed=0, ax=axes[2])
    titles = "a mixture by EM", "with priors: its density", "a network: a density for each input"
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title)
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
    for draw in (readme, outliers):
        keep(draw(), draw.__name__)
    gallery()


if __name__ == "__main__":
    main()
