import math

import pyro.distributions as dist
import pytest
import torch
from torch.distributions import constraints

from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork


class _Holes(constraints.Constraint):
    """A support that no version of torch has a bijection for."""

    def check(self, value):
        return value.abs() > 1


class _WithHoles(dist.Normal):
    support = _Holes()


def started(model, x):
    """Where a guide is before any step."""
    guide = mean_field(model)
    guide(x)
    return guide.median(x)


@pytest.mark.parametrize("variances", [dist.Beta(2.0, 2.0), dist.Uniform(0.0, 1.0)], ids=str)
def test_guides_start_off_the_edges_of_a_bounded_prior(variances):
    net = UGMMNetwork([2, 6, 3])
    net.layers[0].scale = torch.tensor([[1.0, 3.0], [0.9999999, 0.5], *[[0.7, 0.7]] * 4])
    model = UGMMClassifier(net, Priors(variances=variances))
    start = model.start_values()["layers.0.variance"]
    expected = torch.tensor([[0.5, 0.5], [0.5, 0.25], *[[0.49, 0.49]] * 4])
    torch.testing.assert_close(start, expected)
    torch.testing.assert_close(started(model, torch.zeros(1, 2))["layers.0.variance"], start)
    mixture = BayesianGaussianMixture(1, 2, priors=Priors(variances=variances))  # its unit is 1
    torch.testing.assert_close(mixture.start_values()["variances"], torch.full((1, 2), 0.5))
    wide = BayesianGaussianMixture(1, 2, priors=Priors(None, None, None, None)).mixture()
    torch.testing.assert_close(mixture.start_values(wide)["variances"], torch.full((1, 2), 0.5))


def test_a_neuron_without_one_of_its_inputs_has_a_start():
    net = UGMMNetwork([3, 2])
    net.layers[0].logits = torch.tensor([[0.0, 0.0, -math.inf], [0.0, 1.0, 2.0]])
    model = UGMMClassifier(net, Priors(weights=1.0))
    weights = started(model, torch.zeros(1, 3))["layers.0.weights"]
    torch.testing.assert_close(weights, net.layers[0].logits.softmax(-1), atol=1e-5, rtol=0)


def test_a_constant_column_has_a_spread_of_one():
    x = torch.randn(1000, 3)
    x[:, 1] = 0.1
    assert Priors.from_data(x).spread[1] == 1
    x[3, 1] = math.nan
    assert Priors.from_data(x).spread[1] == 1
    x[:, 1] = torch.where(torch.arange(1000) < 500, 1e8, 1e8 + 16)  # narrow, and not constant
    assert Priors.from_data(x).spread[1] > 5


def test_from_data_takes_location_and_scale_once():
    x = torch.randn(100, 3) * torch.tensor([1e-3, 1.0, 0.0]) + 5
    priors = Priors.from_data(x, weights=1.0)
    torch.testing.assert_close(priors.center, x.mean(0))
    torch.testing.assert_close(priors.spread[:2], x.std(0)[:2])
    assert priors.spread[2] == 1 and priors.weights == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Priors(means=dist.LogNormal(0.0, 1.0)),
            "means: expected a distribution over the real",
        ),
        (
            lambda: Priors(variances=dist.Normal(0.0, 1.0)),
            "variances: expected a distribution over posi",
        ),
        (
            lambda: Priors(variances=dist.Uniform(-3.0, -2.0)),
            "variances: expected a distribution over",
        ),
        (
            lambda: Priors(means=3.0),
            "means: expected one of pyro.distributions, or None, got float",
        ),
        (
            lambda: Priors(variances=torch.distributions.LogNormal(0.0, 1.0)),
            r"variances: expected one of pyro.distributions, .* got torch\..*LogNormal",
        ),
        (
            lambda: Priors(means=dist.Normal(torch.zeros(2), 1.0).to_event(1)),
            "means: expected one univ",
        ),
        (lambda: Priors(means=dist.Normal(torch.zeros(4), 1.0)), "means: expected one univariate"),
        (lambda: Priors(variances=dist.Poisson(3.0)), "variances: expected a continuous"),
        (
            lambda: Priors(means=_WithHoles(0.0, 1.0)),
            "means: expected a distribution whose support has a bijection",
        ),
        (
            lambda: Priors(means=dist.Delta(torch.tensor(0.0))),
            "means: expected a distribution with",
        ),
        (
            lambda: Priors(means=dist.Normal(torch.zeros((), requires_grad=True), 1.0)),
            "means: expected a distribution of fixed parameters",
        ),
        (
            lambda: Priors(spread=torch.ones(2, requires_grad=True)),
            "spread: expected a tensor without gradients",
        ),
        (lambda: Priors(weights=math.inf), "weights: expected a positive concentration"),
        (lambda: Priors(weights=0.0), "weights: expected a positive concentration"),
        (lambda: Priors(spread=torch.tensor(0.0)), "spread: expected positive values"),
        (lambda: Priors(center=torch.tensor(math.nan)), "center: expected finite values"),
        (lambda: Priors.from_data(torch.ones(1, 3)), "x: expected shape"),
        (lambda: Priors.from_data(torch.ones(5, 3).long()), "x: expected floating-point"),
        (lambda: Priors.from_data(torch.full((5, 3), math.inf)), "x: expected finite"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_is_left_to_the_model_is_its_own_and_saved_with_it():
    mixture = BayesianGaussianMixture(2, 1).priors
    assert isinstance(mixture.variances, dist.LogNormal) and mixture.weights == 1.0
    network = UGMMClassifier(UGMMNetwork([2, 4, 3]), Priors()).priors
    assert isinstance(network.variances, dist.InverseGamma) and network.weights is None
    given = Priors(variances=dist.Exponential(1.0), weights=None)
    kept = BayesianGaussianMixture(2, 1, priors=given).priors
    assert kept.variances is given.variances and kept.weights is None
    assert repr(Priors()) == "Priors(means=Normal(loc: 0.0, scale: 2.0))"


def test_the_default_prior_leaves_narrow_components_narrow():
    """The mode of the posterior of a component's deviation, against the rows' own."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.01 * torch.randn(100, 1, generator=generator, dtype=torch.float64)
    x = torch.cat([noise[:50], 1 + noise[50:]])
    model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
    means = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    log_deviation = torch.linspace(-6, 0, 601, dtype=torch.float64)
    draws = {
        "weights": torch.full((601, 2), 0.5, dtype=torch.float64),
        "means": means.expand(601, 2, 1),
        "variances": (2 * log_deviation).exp().reshape(-1, 1, 1).expand(601, 2, 1),
    }
    density = model.log_prior(draws) + model.log_likelihood(x, draws=draws).sum(1)
    found = log_deviation[density.argmax()].exp().item()
    assert found == pytest.approx(noise.square().mean().sqrt().item(), rel=0.1)
