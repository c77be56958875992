"""Priors follow their buffers, however these are changed."""

import copy
import pickle

import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork


def mixture(covariance):
    return lambda: BayesianGaussianMixture(3, 2, covariance)


def network():
    return UGMMClassifier(UGMMNetwork([2, 4, 3]), Priors(weights=1.0))


MODELS = [*map(mixture, ("full", "tied", "diagonal", "spherical")), network]


def own(model):
    """The buffers that priors depend on."""
    part = model.sites if isinstance(model, BayesianGaussianMixture) else model.layer_priors
    return dict(part.named_buffers())


def assigned(model):
    for buffer in own(model).values():
        buffer.data = 2 * buffer + 1


def scaled(model):
    for buffer in own(model).values():
        buffer.data.mul_(2).add_(1)


def by_vector(model):
    buffers = [*own(model).values()]
    vector_to_parameters(2 * parameters_to_vector(buffers) + 1, buffers)


def by_memory(model):
    for buffer in own(model).values():
        array = buffer.numpy()
        array *= 2
        array += 1


def loaded(model):
    other = copy.deepcopy(model)
    scaled(other)
    model.load_state_dict(other.state_dict())


def moved(model):
    scaled(model)
    model.double()


@pytest.mark.parametrize("change", [assigned, scaled, by_vector, by_memory, loaded, moved])
@pytest.mark.parametrize("make", MODELS)
def test_priors_are_of_the_buffers_now(make, change):
    torch.manual_seed(0)
    model = make()
    before = {site: prior.sample() for site, prior in model.site_distributions().items()}
    change(model)
    fresh = pickle.loads(pickle.dumps(model))  # which keeps nothing
    for site, prior in model.site_distributions().items():
        value = before[site].to(next(model.buffers()).dtype)
        expected = fresh.site_distributions()[site]
        torch.testing.assert_close(prior.log_prob(value), expected.log_prob(value))
        unit = torch.distributions.biject_to(prior.support)
        known = torch.distributions.biject_to(expected.support)
        torch.testing.assert_close(unit.inv(value), known.inv(value))


@pytest.mark.parametrize("make", MODELS)
def test_they_are_kept_while_nothing_changes(make):
    model = make()
    first, second = model.site_distributions(), model.site_distributions()
    assert all(first[site] is second[site] for site in first)


@pytest.mark.parametrize("make", MODELS)
def test_what_was_kept_in_inference_mode_has_gradients(make):
    model = make()
    with torch.inference_mode():
        drawn = {site: prior.sample() for site, prior in model.site_distributions().items()}
    for site, prior in model.site_distributions().items():
        value = drawn[site].clone().requires_grad_()
        prior.log_prob(value).sum().backward()
        assert value.grad is not None
