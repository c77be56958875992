"""Programs whose discrete sites are summed out, and what is in no plate, as Pyro's examples."""

import pyro
import pyro.distributions as dist
import torch
from torch.nn.functional import pad

GENERATOR = torch.Generator().manual_seed(3)
CLUSTERS = torch.tensor([0.0, 1.0, 10.0, 11.0, 12.0])
ACCIDENTS = torch.tensor([4, 5, 4, 1, 1, 0, 1, 2]).float()
LEVEL = torch.randn(10, 1, generator=GENERATOR).cumsum(0)
CAPTURES = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 1], [1, 1, 1]]).float()


def clusters(x):
    """A Gaussian mixture (the tutorial ``gmm.ipynb``)."""
    weights = pyro.sample("weights", dist.Dirichlet(0.5 * torch.ones(2)))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 2.0))
    with pyro.plate("components", 2):
        locs = pyro.sample("locs", dist.Normal(0.0, 10.0))
    with pyro.plate("rows", len(x)):
        z = pyro.sample("z", dist.Categorical(weights))
        pyro.sample("x", dist.Normal(locs[z], scale), obs=x)


def infinite(x):
    """A mixture by stick-breaking (the tutorial ``dirichlet_process_mixture.ipynb``)."""
    alpha = pyro.sample("alpha", dist.Gamma(2.0, 1.0))
    with pyro.plate("sticks", 2):
        beta = pyro.sample("beta", dist.Beta(1.0, alpha))
    with pyro.plate("components", 3):
        locs = pyro.sample("locs", dist.Normal(0.0, 10.0))
    weights = pad(beta, (0, 1), value=1.0) * pad((1 - beta).cumprod(-1), (1, 0), value=1.0)
    with pyro.plate("rows", len(x)):
        z = pyro.sample("z", dist.Categorical(weights))
        pyro.sample("x", dist.Normal(locs[z], 1.0), obs=x)


def change_point(x):
    """The year in which accidents became rare."""
    rates = pyro.sample("rates", dist.Exponential(1.0).expand([2]).to_event(1))
    z = pyro.sample("z", dist.Categorical(torch.ones(len(x))))
    with pyro.plate("years", len(x)) as year:
        is_later = (year >= z).to(x)
        rate = rates[0] * (1 - is_later) + rates[1] * is_later
        pyro.sample("x", dist.Poisson(rate), obs=x)


def recapture(x):
    """Animals caught again, or dead (the example ``capture_recapture.py``)."""
    survival = pyro.sample("survival", dist.Uniform(0.0, 1.0))
    catch = pyro.sample("catch", dist.Uniform(0.0, 1.0))
    animals, z = pyro.plate("animals", len(x)), torch.ones(len(x))
    for t in pyro.markov(range(1, x.shape[1])):
        with animals:
            z = pyro.sample(f"z_{t}", dist.Bernoulli(survival * z))
            pyro.sample(f"x_{t}", dist.Bernoulli(catch * z), obs=x[:, t])


def local_level(x):
    """A random walk seen through noise, the walk integrated out (``pyro.contrib.forecast``)."""
    drift = pyro.sample("drift", dist.LogNormal(-1.0, 1.0)).reshape(1, 1)
    noise = pyro.sample("noise", dist.LogNormal(-1.0, 1.0)).reshape(1, 1)
    one, zero = torch.ones(1, 1), torch.zeros(1)
    walk = dist.MultivariateNormal(zero, scale_tril=drift)
    seen = dist.MultivariateNormal(zero, scale_tril=noise)
    start = dist.MultivariateNormal(zero, 9 * one)
    pyro.sample("x", dist.GaussianHMM(start, one, walk, one, seen, duration=len(x)), obs=x)


HIDDEN = {
    "Gaussian mixture": (clusters, {"x": CLUSTERS}),
    "stick-breaking": (infinite, {"x": CLUSTERS}),
    "change point": (change_point, {"x": ACCIDENTS}),
    "capture and recapture": (recapture, {"x": CAPTURES}),
}
SERIES = {"local level": (local_level, {"x": LEVEL})}
