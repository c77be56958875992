import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy import stats

from pyro_ugmm.diagnostics import to_inference_data
from pyro_ugmm.distributions import UnivariateGaussianMixture
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMLayer, UGMMNetwork
from pyro_ugmm.plots import plot_losses, plot_neuron, plot_prior_posterior, plot_uncertainty
from pyro_ugmm.status import Status
from pyro_ugmm.training import FitResult
from tests.models.networks import data

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_plot_losses():
    result = FitResult(torch.linspace(100, 1, 200), Status.CONVERGED, "done")
    ax = plot_losses({"a": result, "b": result})
    assert len(ax.lines) == 4
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), result.losses)
    settled = FitResult(torch.linspace(100, 1, 200), Status.CONVERGED, "done", averaged_from=120)
    ax = plot_losses({"a": settled, "b": settled, "c": result})
    labels = [text.get_text().replace("\n", " ") for text in ax.get_legend().get_texts()]
    assert labels == ["a", "settled: parameters averaged from here on", "b", "c"]
    assert [*ax.lines[2].get_xdata()] == [120, 120]
    with pytest.raises(ValueError, match="results: expected a FitResult, or several by name"):
        plot_losses(3)
    for wrong in ({}, {"a": result, "b": 1}):
        with pytest.raises(ValueError, match="results: expected a FitResult, or several by name"):
            plot_losses(wrong)


def test_plot_neuron_draws_the_density():
    nodes = UnivariateGaussianMixture(
        torch.zeros(50, 2, 3), torch.ones(50, 2, 3), logits=torch.zeros(50, 2, 3)
    )
    ax = plot_neuron(
        nodes,
        1,
        point=nodes.expand((50, 2)).__class__(
            torch.zeros(2, 3), torch.ones(2, 3), logits=torch.zeros(2, 3)
        ),
    )
    for line in ax.lines:
        y, density = line.get_data()
        np.testing.assert_allclose(density, stats.norm.pdf(y), rtol=1e-4)
    with pytest.raises(ValueError, match=r"nodes: expected batch shape \(J,\) or \(S, J\)"):
        plot_neuron(nodes.expand((1, 50, 2)), 0)
    with pytest.raises(ValueError, match="index: expected a neuron from 0 to 1, got 2"):
        plot_neuron(nodes, 2)


@pytest.mark.parametrize("size", [(3, 3), (8, 5)])
def test_the_legend_of_a_neuron_covers_nothing(size):
    loc, scale = torch.tensor([[0.0, 1.0, -2.0]]), torch.tensor([[1.0, 0.5, 0.4]])
    nodes = UnivariateGaussianMixture(loc, scale, probs=torch.tensor([[0.9, 0.05, 0.05]]))
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    plot_neuron(nodes, 0, ax=ax)
    figure.canvas.draw()
    line = ax.transData.transform(ax.lines[0].get_xydata())
    assert ax.get_legend().get_window_extent().count_contains(line) == 0


def test_axes_that_share_their_heights_make_room_once():
    nodes = UnivariateGaussianMixture(
        torch.zeros(3, 2), torch.ones(3, 2), probs=torch.full((3, 2), 0.5)
    )
    _, axes = plt.subplots(1, 3, sharey=True)
    tops = [plot_neuron(nodes, i, ax=ax).get_ylim()[1] for i, ax in enumerate(axes)]
    assert tops[1] == pytest.approx(tops[0]) and tops[2] == pytest.approx(tops[0])


def test_plot_neuron_draws_a_layers_components():
    torch.manual_seed(0)
    layer = UGMMLayer(10, 3)
    layer.logits = torch.randn(3, 10)
    ax = plot_neuron(layer.nodes, 1)
    (line,) = ax.lines
    y, density = line.get_data()
    found = layer.nodes.log_prob(torch.as_tensor(y).unsqueeze(-1))[:, 1].exp().detach()
    np.testing.assert_allclose(density, found, rtol=1e-5)
    heaviest = layer.nodes.probs[1].argmax().item()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0].startswith(f"input {heaviest}, weight 0.")
    assert labels[-2].startswith("4 others, weight 0.") and labels[-1] == "density"
    probs = layer.nodes.probs[1].sort(descending=True).values
    assert float(labels[-2].split()[-1]) == pytest.approx(probs[6:].sum().item(), rel=0.1)
    assert len(labels) == 8
    small = UGMMLayer(2, 3)
    named = plot_neuron(small.nodes, 0, small.nodes, names=["length", "width"])
    labels = [text.get_text() for text in named.get_legend().get_texts()]
    assert labels[0].startswith(("length", "width")) and labels[-1] == "maximum likelihood"
    with pytest.raises(ValueError, match="names: expected 10 names"):
        plot_neuron(layer.nodes, 1, names=["a"])
    with pytest.raises(ValueError, match="names: expected 10 names, one for each input, got int"):
        plot_neuron(layer.nodes, 1, names=10)
    with pytest.raises(ValueError, match="nodes: expected a UnivariateGaussianMixture, such as"):
        plot_neuron(layer, 1)


def test_plots_of_a_model():
    x, y = data()
    model = UGMMClassifier(UGMMNetwork([2, 4, 3]), Priors())
    guide = mean_field(model)
    idata = to_inference_data(model, guide, x, y, num_samples=50)
    ax = plot_prior_posterior(model, idata, "layers.0.loc", (3, 1))
    prior = next(line for line in ax.lines if line.get_label() == "prior")
    np.testing.assert_allclose(
        prior.get_ydata(), stats.norm.pdf(prior.get_xdata(), 0, 2), rtol=1e-4
    )
    ax = plot_prior_posterior(model, idata, "layers.0.variance", (0, 0))
    prior = next(line for line in ax.lines if line.get_label() == "prior")
    np.testing.assert_allclose(
        prior.get_ydata(), stats.invgamma.pdf(prior.get_xdata(), 2), rtol=1e-3
    )
    with pytest.raises(ValueError, match="site: expected one of"):
        plot_prior_posterior(model, idata, "layers.9.loc", (0, 0))
    with pytest.raises(ValueError, match="index: expected 2 numbers"):
        plot_prior_posterior(model, idata, "layers.0.loc", (0,))
    with pytest.raises(ValueError, match="features: expected two different ones of 0 to 1"):
        plot_uncertainty(model, guide, x, y, (0, 1, 1))
    with pytest.raises(ValueError, match=r"y: expected labels, shape .n,., got None"):
        plot_uncertainty(model, guide, x, None)
    with pytest.raises(ValueError, match="class_names: expected 3 names, one for each class"):
        plot_uncertainty(model, guide, x, y, class_names=["a"])
    with pytest.raises(ValueError, match=r"inference: expected a fitted guide.*the class Fun"):
        to_inference_data(model, type("Fun", (), {}), x, y)
    with pytest.raises(ValueError, match="draws: expected tensors by site, or None, got int"):
        model.scores(x, 3)
    left, right = plot_uncertainty(model, guide, x, y, num_samples=20)
    total, parameters = (ax.collections[0].get_array() for ax in (left, right))
    assert (total >= parameters - 1e-5).all() and (parameters > -1e-5).all()
    assert total.max() <= np.log2(3) + 1e-5
