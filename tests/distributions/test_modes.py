import numpy as np
import pytest
import torch
from scipy.signal import find_peaks

from pyro_ugmm.distributions import UnivariateGaussianMixture, count_modes
from pyro_ugmm.nn import UGMMLayer


def mixtures(loc, scale, weights):
    loc, scale, weights = map(torch.tensor, (loc, scale, weights))
    return UnivariateGaussianMixture(loc, scale, probs=weights)


@pytest.mark.parametrize(
    ("loc", "scale", "weights", "modes"),
    [
        ([0.0], [1.0], [1.0], 1),
        ([-0.9, 0.9], [1.0, 1.0], [0.5, 0.5], 1),  # two modes need more than two scales
        ([-2.0, 2.0], [1.0, 1.0], [0.5, 0.5], 2),
        ([-2.0, 2.0], [1.0, 1.0], [0.99, 0.01], 1),  # too low to be seen
        ([0.0, 0.0], [1.0, 5.0], [0.5, 0.5], 1),
        ([0.0, 3.0], [1e-3, 4.0], [0.5, 0.5], 1),  # beside the spike nothing rises
        ([-4.0, 0.0, 4.0, 8.0], [1.0, 0.01, 1.0, 1.0], [0.3, 0.01, 0.3, 0.39], 4),  # one is a spike
        ([1e6, 1e6 + 6.0], [1.0, 1.0], [0.5, 0.5], 2),
    ],
)
def test_bumps_are_counted(loc, scale, weights, modes):
    loc = torch.tensor(loc, dtype=torch.float64)
    scale, weights = torch.tensor(scale).double(), torch.tensor(weights).double()
    found = count_modes(UnivariateGaussianMixture(loc, scale, probs=weights))
    assert found.shape == () and found.dtype == torch.long and found.item() == modes


@pytest.mark.parametrize("prominence", [0.01, 0.05, 0.2])
def test_they_are_those_that_scipy_finds_on_a_fine_grid(prominence):
    torch.manual_seed(0)
    loc, scale = 4 * torch.randn(60, 7).double(), 0.2 + torch.rand(60, 7).double()
    many = UnivariateGaussianMixture(loc, scale, logits=torch.randn(60, 7).double())
    grid = torch.linspace(-25, 25, 20001, dtype=torch.float64)
    heights = many.log_prob(grid.unsqueeze(-1)).exp().T.numpy()
    expected = [len(find_peaks(h, prominence=prominence * h.max())[0]) for h in heights]
    assert max(expected) >= 4 and np.array_equal(count_modes(many, prominence), expected)


def test_of_any_batch_shape_and_a_layer():
    loc = torch.tensor([-3.0, 3.0]).expand(2, 3, 2)
    assert count_modes(mixtures([-3.0, 3.0], [1.0, 1.0], [0.5, 0.5]).expand((2, 3))).shape == (2, 3)
    logits = torch.zeros(2, 3, 2, requires_grad=True)
    found = count_modes(UnivariateGaussianMixture(loc, torch.ones(2, 3, 2), logits=logits))
    assert found.tolist() == [[2, 2, 2], [2, 2, 2]] and not found.requires_grad
    assert count_modes(UGMMLayer(5, 8).nodes).min() >= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda nodes: count_modes(nodes.loc), "mixtures: expected a UnivariateGaussianMixture"),
        (lambda nodes: count_modes(nodes, 0.0), "prominence: expected a number between zero and"),
        (lambda nodes: count_modes(nodes, 1), "prominence: expected a number between zero and"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(UGMMLayer(2, 3).nodes)
