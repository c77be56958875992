"""Training a model leaves the network that it was made of as it is."""

import numpy as np
import pytest
import torch
from pyro.infer.autoguide import AutoNormal

from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_mle, fit_svi
from tests.models.networks import data

X, Y = data()


def by_likelihood(model):
    fit_mle(model, X, Y, steps=3, progress=False, seed=0)


def by_svi(model):
    fit_svi(model, mean_field(model), X, Y, steps=3, progress=False, seed=0)


def from_a_start(model):
    mean_field(model, start=UGMMNetwork(model.network.sizes))


def by_hand(model):
    with torch.no_grad():
        model.network.layers[0].loc.zero_()
    model.double().requires_grad_(False)


def classifier(priors, **kwargs):
    network = UGMMNetwork([2, 5, 3], dropout=0.1)
    return network, UGMMClassifier(network, priors, **kwargs)


def density(priors, **kwargs):
    network = UGMMNetwork([3, 5, 1])
    return network, UGMMDensity(network, 3, priors, **kwargs)


CASES = [(None, by_likelihood), (Priors(), by_svi), (Priors(), from_a_start), (None, by_hand)]


@pytest.mark.parametrize("make", [classifier, density])
@pytest.mark.parametrize(("priors", "change"), CASES)
def test_the_network_given_stays_as_it_is(make, priors, change):
    network, model = make(priors)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    row = torch.zeros(1, network.sizes[0])
    assert torch.equal(model.eval().network(row), network.eval()(row))
    change(model.train())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.requires_grad for parameter in network.parameters())
    learned = model.network.state_dict()
    assert any(not torch.equal(learned[name].to(value), value) for name, value in before.items())


@pytest.mark.parametrize("make", [classifier, density])
@pytest.mark.parametrize(("priors", "change"), CASES)
def test_unless_told_otherwise(make, priors, change):
    network, model = make(priors, copy=False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert model.network is network
    change(model)
    now = network.state_dict()
    assert any(not torch.equal(now[name].to(value), value) for name, value in before.items())


def test_a_network_that_gradients_came_to_can_be_copied():
    network, model = classifier(None)
    model.row_terms(X, Y).sum().backward()
    again = UGMMClassifier(model.network, Priors())
    assert again.network is not model.network and network.layers[0].loc.grad is None
    AutoNormal(again)


@pytest.mark.parametrize("copy", [np.True_, np.False_])
def test_copy_may_be_a_truth_value_of_numpy(copy):
    network = UGMMNetwork([2, 3, 2])
    assert (UGMMClassifier(network, copy=copy).network is not network) == bool(copy)


@pytest.mark.parametrize("copy", [None, 1, "yes"])
def test_copy_is_true_or_false(copy):
    with pytest.raises(ValueError, match="copy: expected True or False"):
        classifier(None, copy=copy)


def test_a_start_stays_as_it_is():
    model, start = UGMMClassifier(UGMMNetwork([2, 5, 3]), Priors()), UGMMNetwork([2, 5, 3])
    before = {name: value.clone() for name, value in start.state_dict().items()}
    fit_svi(model, mean_field(model, start=start), X, Y, steps=3, progress=False)
    for name, value in start.state_dict().items():
        assert torch.equal(value, before[name]), name
