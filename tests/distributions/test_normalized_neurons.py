"""Neurons as densities of their inputs, by their formula and by quadrature."""

import pytest
import torch

from pyro_ugmm.distributions import UnivariateGaussianMixture, normalized_neurons
from pyro_ugmm.nn import UGMMLayer

from .products import grid, some_rows


def layer(n_inputs=2, n_neurons=3):
    torch.manual_seed(0)
    return UGMMLayer(n_inputs, n_neurons, dtype=torch.float64)


def reference(n_inputs=2, n_gaussians=2, batch=(), dtype=torch.float64):
    loc = torch.arange(float(n_inputs * n_gaussians), dtype=dtype).view(n_inputs, n_gaussians) / 2
    loc = loc.expand(*batch, n_inputs, n_gaussians)
    probs = torch.arange(1.0, n_gaussians + 1, dtype=dtype).expand_as(loc)
    return UnivariateGaussianMixture(loc, torch.full_like(loc, 1.3), probs=probs)


@pytest.mark.parametrize("n_gaussians", [1, 3])
def test_component_k_replaces_input_k_of_the_reference(n_gaussians):
    neurons, b = layer(4).nodes, reference(4, n_gaussians)
    x = some_rows(6, 4)
    mixture = normalized_neurons(neurons, b)
    assert mixture.batch_shape == (3,)
    of_reference = b.log_prob(x)  # (n, D)
    of_gaussians = torch.distributions.Normal(neurons.loc, neurons.scale).log_prob(x[:, None])
    ratios = neurons.probs * (of_gaussians - of_reference[:, None]).exp()
    expected = of_reference.sum(-1)[:, None] + ratios.sum(-1).log()
    torch.testing.assert_close(mixture.log_prob(x[:, None]), expected)
    torch.testing.assert_close(mixture.responsibilities(x[:, None]), ratios / ratios.sum(-1, True))


def test_it_integrates_to_one():
    places, step = grid(-30, 30, 241)
    x = torch.cartesian_prod(places, places).unsqueeze(1)
    total = normalized_neurons(layer().nodes, reference()).log_prob(x).exp().sum(0) * step**2
    torch.testing.assert_close(total, torch.ones(3).double())


def test_a_neuron_that_is_the_reference_leaves_it():
    b = reference(3, 1)
    neuron = UnivariateGaussianMixture(b.loc[:, 0], b.scale[:, 0], probs=torch.ones(3).double())
    x = some_rows(5, 3)
    torch.testing.assert_close(normalized_neurons(neuron, b).log_prob(x), b.log_prob(x).sum(-1))


def test_layers_learn_through_it():
    own, x = layer(), some_rows(9, 2)
    mixture = normalized_neurons(own.nodes, reference(batch=(5, 1)))
    assert mixture.batch_shape == (5, 3)
    mixture.log_prob(x[:, None, None]).sum().backward()
    gradients = [parameter.grad for parameter in own.parameters()]
    assert all(one.isfinite().all() and one.abs().sum() > 0 for one in gradients)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: normalized_neurons(layer(), reference()), "neurons: expected a UnivariateGauss"),
        (lambda: normalized_neurons(layer().nodes, 1), "reference: expected a UnivariateGaussian"),
        (
            lambda: normalized_neurons(layer(3).nodes, reference(2)),
            r"reference: expected a batch of shape \(..., 3\), as neurons has components, got batc",
        ),
        (
            lambda: normalized_neurons(layer().nodes, reference(dtype=torch.float32)),
            "reference: expected torch.float64, as neurons has",
        ),
        (
            lambda: normalized_neurons(layer().nodes, reference(batch=(2,))),
            "neurons, reference: expected batch shapes that broadcast",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
