"""The curvature of log posteriors, against closed forms."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_ugmm.curvature import posterior_curvature
from tests.programs.regressions import PROGRAMS, X, Y, posterior, with_size


@pytest.mark.parametrize("program", [*PROGRAMS])
@pytest.mark.parametrize("at", [torch.zeros(3), torch.tensor([1.0, -2.0, 3.0])])
def test_of_a_regression(program, at):
    """Its log posterior is a quadratic form, whose curvature is the same everywhere."""
    found = posterior_curvature(PROGRAMS[program](), {"w": at}, (X, Y))
    covariance = posterior()[1]
    precision = torch.linalg.inv(covariance)
    torch.testing.assert_close(found.hessian, precision, rtol=1e-4, atol=1e-3)
    factor = found.covariance_factor
    torch.testing.assert_close(factor @ factor.mT, covariance, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(factor, factor.tril())
    scales = found.by_site(found.conditional_scales)["w"]
    torch.testing.assert_close(scales, precision.diagonal().rsqrt())


@pytest.mark.parametrize("rate", [0.5, 3.0])
def test_of_a_positive_site_in_its_logarithm(rate):
    r"""Rows that are exponential, with a gamma prior: the log posterior of :math:`u = \log r` is
    :math:`(a + n) u - (b + \sum x) e^u`, constants left out.
    """
    x = torch.tensor([0.3, 1.2, 0.7, 2.0])

    def model(x):
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.5))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Exponential(rate), obs=x)

    found = posterior_curvature(model, {"rate": torch.tensor(rate)}, (x,))
    expected = (1.5 + x.sum()) * rate
    torch.testing.assert_close(found.hessian, expected.reshape(1, 1))


def test_nothing_is_wider_than_one():
    def model(x):
        pyro.sample("flat", dist.Normal(0.0, 50.0).expand([2]).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    found = posterior_curvature(model, {"flat": torch.zeros(2)}, (Y,))
    torch.testing.assert_close(found.conditional_scales, torch.ones(2))
    torch.testing.assert_close(found.covariance_factor, torch.eye(2))


def test_refusals():
    def kinked(x):
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(w.abs().sqrt(), 1.0), obs=x)

    with pytest.raises(ValueError, match="start: expected a point where the log posterior can be"):
        posterior_curvature(kinked, {"w": torch.tensor(0.0)}, (Y,))
    wide = torch.ones(2, 3001)
    with pytest.raises(ValueError, match="model: expected a model of at most 3000 latent values"):
        posterior_curvature(with_size, {"w": torch.zeros(3001)}, (wide, Y[:2]))
