"""Regressions of all kinds, as Pyro's examples and tutorials have them."""

import pyro
import pyro.contrib.gp as gp
import pyro.distributions as dist
import torch
from pyro.nn import PyroSample

GENERATOR = torch.Generator().manual_seed(2)


def noise(n_rows):
    return torch.randn(n_rows, generator=GENERATOR)


RUGGED = noise(20).abs()
IN_AFRICA = (torch.arange(20) % 3 == 0).float()
LOG_GDP = 9 - 1.9 * IN_AFRICA - 0.2 * RUGGED + 0.4 * IN_AFRICA * RUGGED + 0.5 * noise(20)
X = noise(20)
LINE = 1 + 2 * X + 0.3 * noise(20)
LINE[:2] += 8
COUNTS = torch.tensor([0, 3, 0, 1, 6, 0, 2, 0, 0, 9, 1, 0, 4, 0, 2, 0, 0, 5, 1, 0]).float()
GRADES = torch.bucketize(X + noise(20), torch.tensor([-0.5, 0.7]))
FEATURES = torch.randn(20, 4, generator=GENERATOR)


def terrain(in_africa, rugged, log_gdp=None):
    """Log GDP by ruggedness (the introduction to Bayesian regression)."""
    a = pyro.sample("a", dist.Normal(8.0, 1.0))
    b = pyro.sample("b", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    sigma = pyro.sample("sigma", dist.Uniform(0.0, 10.0))
    mean = a + b[0] * in_africa + b[1] * rugged + b[2] * in_africa * rugged
    with pyro.plate("countries", len(rugged)):
        return pyro.sample("log_gdp", dist.Normal(mean, sigma), obs=log_gdp)


def robust(x, y=None):
    """A line through outliers, by Student's t."""
    w = pyro.sample("w", dist.Normal(0.0, 3.0).expand([2]).to_event(1))
    scale = pyro.sample("scale", dist.HalfNormal(1.0))
    freedom = pyro.sample("freedom", dist.Gamma(2.0, 0.1))
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.StudentT(freedom, w[0] + w[1] * x, scale), obs=y)


def counts(x, y=None):
    """Counts that vary more than Poisson's."""
    w = pyro.sample("w", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    concentration = pyro.sample("concentration", dist.Exponential(1.0))
    rate = concentration / (w[0] + w[1] * x).exp()
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.GammaPoisson(concentration, rate), obs=y)


def zero_inflated(x, y=None):
    """Counts of which many are zero."""
    gate = pyro.sample("gate", dist.Beta(1.0, 1.0))
    w = pyro.sample("w", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    with pyro.plate("rows", len(x)):
        rate = (w[0] + w[1] * x).exp()
        pyro.sample("y", dist.ZeroInflatedPoisson(rate, gate=gate), obs=y)


def ordinal(x, grade=None):
    """Grades in an order, between cutpoints."""
    slope = pyro.sample("slope", dist.Normal(0.0, 2.0))
    free = dist.Normal(0.0, 1.0).expand([2]).to_event(1)
    cutpoints = pyro.sample(
        "cutpoints", dist.TransformedDistribution(free, dist.transforms.OrderedTransform())
    )
    with pyro.plate("rows", len(x)):
        pyro.sample("grade", dist.OrderedLogistic(slope * x, cutpoints), obs=grade)


def horseshoe(features, y=None):
    """Few of the features matter (the example ``sparse_regression.py``)."""
    overall = pyro.sample("overall", dist.HalfCauchy(0.5))
    with pyro.plate("features", features.shape[1]):
        local = pyro.sample("local", dist.HalfCauchy(1.0))
        w = pyro.sample("w", dist.Normal(0.0, overall * local))
    with pyro.plate("rows", len(features)):
        pyro.sample("y", dist.Normal(features @ w, 1.0), obs=y)


def gaussian_process(x, y=None):
    """Gaussian process regression by ``pyro.contrib.gp``, with a prior over the kernel."""
    kernel = gp.kernels.RBF(input_dim=1)
    kernel.variance = PyroSample(dist.LogNormal(0.0, 1.0))
    kernel.lengthscale = PyroSample(dist.LogNormal(0.0, 1.0))
    process = gp.models.GPRegression(x, y, kernel, noise=torch.tensor(0.5))
    process.model()


REGRESSIONS = {
    "terrain": (terrain, {"in_africa": IN_AFRICA, "rugged": RUGGED, "log_gdp": LOG_GDP}),
    "robust": (robust, {"x": X, "y": LINE}),
    "counts": (counts, {"x": X, "y": COUNTS}),
    "zero-inflated": (zero_inflated, {"x": X, "y": COUNTS}),
    "ordinal": (ordinal, {"x": X, "grade": GRADES}),
    "horseshoe": (horseshoe, {"features": FEATURES, "y": FEATURES[:, 0] * 3 + noise(20)}),
    "Gaussian process": (gaussian_process, {"x": X[:8], "y": LINE[:8]}),
}
