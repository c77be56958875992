"""Guides start at an estimate, as wide as the posterior's curvature there: Laplace's approximation.

The posterior of a linear regression of known noise is normal, so that Laplace's is exact.
"""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import (
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)

from pyro_ugmm.guides import full_rank, low_rank, mean_field
from tests.programs.regressions import PROGRAMS, X, Y, posterior, with_size

MEAN, COVARIANCE = posterior()
by_program = pytest.mark.parametrize("program", [*PROGRAMS])


@by_program
def test_full_rank_is_the_posterior(program):
    guide = full_rank(PROGRAMS[program](), start={"w": MEAN}, x=X, y=Y)
    assert isinstance(guide, AutoMultivariateNormal)
    found = guide.get_posterior()
    torch.testing.assert_close(found.mean, MEAN, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.covariance_matrix, COVARIANCE, rtol=1e-3, atol=1e-6)


@by_program
def test_mean_field_has_the_conditional_scales(program):
    guide = mean_field(PROGRAMS[program](), start={"w": MEAN}, x=X, y=Y)
    assert isinstance(guide, AutoNormal)
    expected = torch.linalg.inv(COVARIANCE).diagonal().rsqrt()
    torch.testing.assert_close(guide.scales.w.detach(), expected, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(guide.median()["w"], MEAN)


@by_program
def test_low_rank_has_the_marginal_scales(program):
    guide = low_rank(PROGRAMS[program](), rank=1, start={"w": MEAN}, x=X, y=Y)
    assert isinstance(guide, AutoLowRankMultivariateNormal)
    variances = guide.get_posterior().variance.detach()
    torch.testing.assert_close(variances, COVARIANCE.diagonal(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("make", [mean_field, low_rank, full_rank])
def test_without_a_start_it_is_the_middle_of_the_support(make):
    def model(x):
        pyro.sample("loc", dist.Normal(5.0, 1.0))
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, scale), obs=x)

    guide = make(model, x=Y)
    found = guide.median(Y)
    torch.testing.assert_close(found["loc"], torch.tensor(0.0))
    torch.testing.assert_close(found["scale"], torch.tensor(1.0))


@pytest.mark.parametrize("make", [mean_field, low_rank, full_rank])
def test_without_data_the_start_is_taken_when_the_guide_first_runs(make):
    guide = make(with_size, start={"w": MEAN})
    guide(X, Y)
    torch.testing.assert_close(guide.median(X, Y)["w"], MEAN)


@pytest.mark.parametrize("make", [mean_field, low_rank, full_rank])
def test_the_parameter_store_is_left_alone(make):
    def model(x):
        scale = pyro.param("scale", torch.tensor(1.0))
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, scale), obs=x)

    with pyro.get_param_store().scope():
        make(model, x=Y)
        assert not [*pyro.get_param_store().keys()]
