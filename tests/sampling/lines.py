"""A line with known noise: everything about it has a closed form."""

import pyro
import pyro.distributions as dist
import torch
from torch.distributions import MultivariateNormal

X = torch.linspace(-1.0, 2.0, 30)
Y = 0.7 * X - 0.4 + 0.3 * torch.randn(30, generator=torch.Generator().manual_seed(0))


def regression(x, y=None):
    zero = x.new_zeros(())
    slope = pyro.sample("slope", dist.Normal(zero, 2.0))
    intercept = pyro.sample("intercept", dist.Normal(zero, 2.0))
    with pyro.plate("data", len(x)):
        return pyro.sample("y", dist.Normal(intercept + slope * x, 0.5), obs=y)


def exact_regression():
    """The posterior of slope and intercept, and the log evidence."""
    design = torch.stack([X, torch.ones(30)], -1).double()
    y = Y.double()
    precision = design.T @ design / 0.25 + torch.eye(2, dtype=torch.float64) / 4
    covariance = torch.linalg.inv(precision)
    marginal = design @ design.T * 4 + 0.25 * torch.eye(30, dtype=torch.float64)
    evidence = MultivariateNormal(torch.zeros(30, dtype=torch.float64), marginal).log_prob(y)
    return covariance @ design.T @ y / 0.25, covariance, float(evidence)


def guide_about_the_posterior(shift, width):
    """A guide, shifted by posterior standard deviations, and so many times as wide."""
    mean, covariance, _ = exact_regression()
    deviation = covariance.diagonal().sqrt()

    def guide(x, y=None):
        at, scale = (mean + shift * deviation).to(x), (width * deviation).to(x)
        pyro.sample("slope", dist.Normal(at[0], scale[0]))
        pyro.sample("intercept", dist.Normal(at[1], scale[1]))

    return guide
