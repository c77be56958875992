import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import LogNorm

from pyro_ugmm.distributions import UnivariateGaussianMixture
from pyro_ugmm.plots import plot_neuron_inputs

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def neurons(n_inputs):
    torch.manual_seed(0)
    loc, logits = torch.randn(3, n_inputs, requires_grad=True), torch.randn(3, n_inputs)
    return UnivariateGaussianMixture(loc, loc.exp(), logits=logits)


@pytest.mark.parametrize("quantity", ["weight", "mean", "scale", "precision"])
def test_an_image_holds_a_number_of_each_input(quantity):
    nodes = neurons(24)
    values = {
        "weight": nodes.probs,
        "mean": nodes.loc,
        "scale": nodes.scale,
        "precision": nodes.scale**-2,
    }[quantity]
    ax = plot_neuron_inputs(nodes, 2, quantity, shape=(4, 6))
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), values[2].detach().reshape(4, 6), rtol=1e-6)
    low, high = image.get_clim()
    assert low == {"weight": 0, "mean": -high}.get(quantity, low)


def test_precisions_that_differ_much_have_logarithmic_colors():
    nodes = UnivariateGaussianMixture(
        torch.zeros(1, 4), torch.tensor([[1e-3, 1.0, 2.0, 3.0]]), logits=torch.zeros(1, 4)
    )
    ax = plot_neuron_inputs(nodes, 0, "precision", shape=(2, 2))
    shades = ax.images[0].norm(1 / torch.tensor([2.0, 3.0]).numpy() ** 2)
    assert shades[0] - shades[1] > 0.04 and isinstance(ax.images[0].norm, LogNorm)


def test_bars_are_of_the_largest_weights_by_name():
    nodes = neurons(30)
    names = [f"pixel {k}" for k in range(30)]
    order = nodes.probs[1].argsort(descending=True)[:20]
    for quantity, values in (("weight", nodes.probs[1]), ("mean", nodes.loc[1].detach())):
        ax = plot_neuron_inputs(nodes, 1, quantity, names=names)
        lengths = [bar.get_width() for bar in ax.patches]
        np.testing.assert_allclose(lengths, values[order], rtol=1e-6)
        assert [t.get_text() for t in ax.get_yticklabels()] == [names[k] for k in order]
        assert ax.yaxis_inverted() and "10 inputs of smaller weights" in ax.get_xlabel()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": 3}, "nodes: expected a UnivariateGaussianMixture, such as layer.nodes, got int"),
        ({"nodes": neurons(6).expand((2, 3))}, r"nodes: expected batch shape \(J,\), got \(2, 3\)"),
        ({"index": 3}, "index: expected a neuron from 0 to 2, got 3"),
        ({"quantity": "size"}, "quantity: expected one of 'weight', 'mean', 'scale', 'precision'"),
        ({"names": ["a"]}, "names: expected 6 names, one for each input"),
        (
            {"shape": (2, 2)},
            r"shape: expected height and width of images of 6 pixels, got \(2, 2\)",
        ),
        ({"shape": 6}, "shape: expected height and width of images of 6 pixels, got 6"),
        ({"shape": (2, 0)}, "shape: expected a positive integer, got 0"),
        ({"ax": "left"}, "ax: expected axes of matplotlib, got str"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"nodes": neurons(6), "index": 0} | change
    with pytest.raises(ValueError, match=message):
        plot_neuron_inputs(**arguments)
