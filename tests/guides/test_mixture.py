"""A mixture of guides has the density and the draws of a mixture."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.stats
import torch

from pyro_ugmm.diagnostics import pareto_k, to_inference_data
from pyro_ugmm.guides import MixtureGuide, full_rank, mean_field
from pyro_ugmm.sampling import sample_posterior

WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)
Y = torch.full((1,), 4.0, dtype=torch.float64)


def model(y):
    """Two modes, one as probable as the other."""
    zero = torch.zeros((), dtype=torch.float64)
    theta = pyro.sample("theta", dist.Normal(zero, 3.0))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(theta.square().expand(len(y)), 0.5), obs=y)


def halves(makes, weights=WEIGHTS):
    """A mixture of a guide at each mode."""
    guides = [
        make(model, start={"theta": mode}, x=Y)
        for make, mode in zip(makes, (-2.0, 2.0), strict=True)
    ]
    return MixtureGuide(model, guides, weights, (Y,))


@pytest.mark.parametrize("makes", [(mean_field, mean_field), (mean_field, full_rank)])
def test_its_density_is_the_weighted_sum(makes):
    guide = halves(makes)
    scale = (1 / 9 + 16 / 0.25) ** -0.5  # the curvature at theta = 2 of (theta^2 - 4)^2 / (2 0.25)
    points = np.array([-2.3, -2.0, 0.1, 1.9])
    normals = [scipy.stats.norm(mode, scale).pdf(points) for mode in (-2.0, 2.0)]
    expected = np.log(0.3 * normals[0] + 0.7 * normals[1])
    found = guide.get_posterior().log_prob(torch.tensor(points)[:, None]).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_draws_come_from_both_modes_by_their_weights():
    draws = halves((mean_field, mean_field)).get_posterior().sample((2000,))
    assert draws.shape == (2000, 1)
    share = float((draws > 0).double().mean())
    assert abs(share - 0.7) < 5 * (0.21 / 2000) ** 0.5


def test_weights_of_draws_see_the_mode_that_one_guide_misses():
    """A guide of one mode has a good k; of both modes with even weights also the right mean."""
    even = torch.tensor([0.5, 0.5], dtype=torch.float64)
    idata = to_inference_data(model, halves((mean_field, mean_field), even), Y, seed=0)
    assert pareto_k(idata)[0] < 0.7
    assert abs(float(idata.posterior["theta"].mean())) < 0.5
    assert float(idata.posterior["theta"].std()) > 1.5


def test_a_sampler_starts_from_it():
    guide = halves((mean_field, mean_field))
    options = {"num_particles": 256, "seed": 0, "progress": False}
    sample = sample_posterior(model, Y, start=guide, **options)
    theta = np.linspace(-8, 8, 20001)
    joint = scipy.stats.norm(0, 3).pdf(theta) * scipy.stats.norm(theta**2, 0.5).pdf(4.0)
    expected = np.log(np.trapezoid(joint, theta))
    assert abs(sample.log_evidence - expected) < 0.2
    assert abs(float((sample.draws["theta"] > 0).double().mean()) - 0.5) < 0.25


def test_it_says_what_it_cannot_mix():
    guide = mean_field(model, start={"theta": 1.0}, x=Y)
    with pytest.raises(ValueError, match="weights: expected one for each of 1 guides"):
        MixtureGuide(model, [guide], WEIGHTS, (Y,))
    with pytest.raises(ValueError, match="guides: expected autoguides"):
        MixtureGuide(model, [guide, lambda y: None], WEIGHTS, (Y,))
