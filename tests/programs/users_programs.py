"""Programs as users of Pyro write them, with their data by name of argument."""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.reparam import LocScaleReparam
from pyro.nn import PyroModule, PyroSample
from torch.distributions import constraints

GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape):
    return torch.randn(*shape, generator=GENERATOR)


X, Y = normal(12), normal(12)
MATRIX = normal(12, 3)
SIDES = (torch.arange(12) % 4 > 1).float()
GROUP = torch.arange(12) % 3
AT_BATS = torch.full((6,), 45.0)
HITS = torch.tensor([18.0, 17.0, 14.0, 11.0, 9.0, 7.0])
EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def schools(sigma, y=None):
    """Eight schools: effects of their own in the plate of what is observed."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", len(sigma)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        return pyro.sample("y", dist.Normal(theta, sigma), obs=y)


decentered = poutine.reparam(schools, {"theta": LocScaleReparam(0.0)})


def nested(matrix):
    """Two plates, with latent sites in either and in both."""
    rows = pyro.plate("rows", matrix.shape[0], dim=-2)
    columns = pyro.plate("columns", matrix.shape[1], dim=-1)
    with rows:
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
    with columns:
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with rows, columns:
        noise = pyro.sample("noise", dist.Normal(0.0, 0.5))
        pyro.sample("matrix", dist.Normal(a + b + noise, 1.0), obs=matrix)


def batting(at_bats, hits):
    """Partially pooled chances of success, in logits."""
    loc = pyro.sample("loc", dist.Normal(-1.0, 1.0))
    scale = pyro.sample("scale", dist.HalfCauchy(1.0))
    with pyro.plate("players", len(at_bats)):
        logits = pyro.sample("logits", dist.Normal(loc, scale))
        pyro.sample("hits", dist.Binomial(at_bats, logits=logits), obs=hits)


def left_plate(x):
    """The only plate is not at the right end."""
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(x), dim=-2):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x[:, None])


def two_outcomes(x, side, y):
    """Two observed sites in one plate."""
    w = pyro.sample("w", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    with pyro.plate("rows", len(x)):
        pyro.sample("side", dist.Bernoulli(logits=w[0] + w[1] * x), obs=side)
        pyro.sample("y", dist.Normal(w[0] - w[1] * x, 1.0), obs=y)


def two_studies(first, second):
    """Two observed sites in plates of their own."""
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("firsts", len(first)):
        pyro.sample("first", dist.Normal(mean, 1.0), obs=first)
    with pyro.plate("seconds", len(second)):
        pyro.sample("second", dist.Normal(mean, 2.0), obs=second)


def with_factors(x, y=None):
    """A factor of all, and one for each row beside an observed site."""
    w = pyro.sample("w", dist.Normal(0.0, 1.0))
    pyro.factor("penalty", -w.abs())
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.Normal(w * x, 1.0), obs=y)
        pyro.factor("lean", -0.1 * (w * x).square())


def masked_and_scaled(x, y=None):
    w = pyro.sample("w", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(x)), poutine.mask(mask=x > 0), poutine.scale(scale=0.5):
        pyro.sample("y", dist.Normal(w * x, 1.0), obs=y)


def with_functions(x, y=None):
    """Deterministic sites, within the rows' plate and without."""
    w = pyro.sample("w", dist.LogNormal(0.0, 1.0).expand([2]).to_event(1))
    pyro.deterministic("ratio", w[0] / w[1])
    with pyro.plate("rows", len(x)):
        mean = pyro.deterministic("mean", w[0] + w[1] * x)
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def groups(x, group, n_groups, y=None):
    """Varying intercepts and slopes; a number among the arguments."""
    center = pyro.sample("center", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    spread = pyro.sample("spread", dist.HalfNormal(1.0).expand([2]).to_event(1))
    with pyro.plate("groups", n_groups):
        effect = pyro.sample("effect", dist.Normal(center, spread).to_event(1))
    with pyro.plate("rows", len(x)):
        mean = effect[group, 0] + effect[group, 1] * x
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def subsampled(x, y=None):
    """A plate that takes five rows at random at each run."""
    w = pyro.sample("w", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(x), subsample_size=5) as at:
        pyro.sample("y", dist.Normal(w * x[at], 1.0), obs=y[at])


def gaussian_process(x, y=None):
    """Rows that depend on each other: one event, in no plate."""
    length = pyro.sample("length", dist.LogNormal(0.0, 1.0))
    noise = pyro.sample("noise", dist.HalfNormal(1.0))
    covariance = (-0.5 * ((x[:, None] - x) / length).square()).exp()
    covariance = covariance + (noise + 1e-2) * torch.eye(len(x))
    pyro.sample("y", dist.MultivariateNormal(torch.zeros(len(x)), covariance), obs=y)


def censored(time, is_censored):
    """Survival times, of which some are only known to be longer."""
    rate = pyro.sample("rate", dist.Gamma(2.0, 2.0))
    with pyro.plate("patients", len(time)):
        with poutine.mask(mask=~is_censored):
            pyro.sample("time", dist.Exponential(rate), obs=time)
        pyro.factor("longer", torch.where(is_censored, -rate * time, 0.0))


class Network(PyroModule):
    """Sites inside a module of modules."""

    def __init__(self):
        super().__init__()
        self.linear = PyroModule[torch.nn.Linear](3, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 3]).to_event(2))
        self.linear.bias = PyroSample(dist.Normal(0.0, 1.0).expand([1]).to_event(1))

    def forward(self, matrix, y=None):
        mean = self.linear(matrix)[:, 0]
        with pyro.plate("rows", len(matrix)):
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


LINEAR = torch.nn.Linear(3, 1)


def with_module(matrix, y=None):
    linear = pyro.module("linear", LINEAR)
    scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
    w = pyro.sample("w", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(matrix)):
        pyro.sample("y", dist.Normal(w * linear(matrix)[:, 0], scale), obs=y)


LINE = {"x": X, "y": Y}
CONTINUOUS = {
    "schools": (schools, {"sigma": ERRORS, "y": EFFECTS}),
    "schools, decentered": (decentered, {"sigma": ERRORS, "y": EFFECTS}),
    "batting": (batting, {"at_bats": AT_BATS, "hits": HITS}),
    "nested plates": (nested, {"matrix": MATRIX}),
    "a plate to the left": (left_plate, {"x": X}),
    "two outcomes": (two_outcomes, {"x": X, "side": SIDES, "y": Y}),
    "two studies": (two_studies, {"first": X, "second": Y[:5]}),
    "factors": (with_factors, LINE),
    "mask and scale": (masked_and_scaled, LINE),
    "deterministic sites": (with_functions, LINE),
    "groups": (groups, {"x": X, "group": GROUP, "n_groups": 3, "y": Y}),
    "a Gaussian process": (gaussian_process, LINE),
    "censored times": (censored, {"time": X.abs(), "is_censored": Y > 0.5}),
    "a module of sites": (Network(), {"matrix": MATRIX, "y": Y}),
    "a module of parameters": (with_module, {"matrix": MATRIX, "y": Y}),
}


def mixture(x):
    """A mixture of two, whose labels are in the rows' plate."""
    share = pyro.sample("share", dist.Beta(2.0, 2.0))
    with pyro.plate("components", 2):
        loc = pyro.sample("loc", dist.Normal(0.0, 2.0))
    with pyro.plate("rows", len(x)):
        z = pyro.sample("z", dist.Bernoulli(share)).long()
        pyro.sample("x", dist.Normal(loc[z], 1.0), obs=x)


def switch(x, y=None):
    """One label for all rows."""
    loc = pyro.sample("loc", dist.Normal(0.0, 2.0))
    z = pyro.sample("z", dist.Categorical(torch.tensor([0.2, 0.5, 0.3])))
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.Normal(loc + z * x, 1.0), obs=y)


def hidden_covariate(x, y=None):
    """A label decides of two observed sites, and of a latent one of the row."""
    with pyro.plate("rows", len(x)):
        z = pyro.sample("z", dist.Bernoulli(0.3))
        effect = pyro.sample("effect", dist.Normal(z, 1.0))
        pyro.sample("x", dist.Normal(2 * z, 1.0), obs=x)
        pyro.sample("y", dist.Normal(effect - z, 1.0), obs=y)


def chain(x):
    """A hidden Markov model of three states."""
    with pyro.plate("states", 3):
        loc = pyro.sample("loc", dist.Normal(0.0, 2.0))
        moves = pyro.sample("moves", dist.Dirichlet(torch.ones(3)))
    z = 0
    for t in pyro.markov(range(len(x))):
        z = pyro.sample(f"z_{t}", dist.Categorical(moves[z]))
        pyro.sample(f"x_{t}", dist.Normal(loc[z], 1.0), obs=x[t])


DISCRETE = {
    "a mixture": (mixture, {"x": X}),
    "one label": (switch, LINE),
    "a hidden covariate": (hidden_covariate, LINE),
    "a chain": (chain, {"x": X[:4]}),
}
