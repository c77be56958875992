"""Bayesian linear regressions written by users in several ways, and their posterior in closed form.

.. math:: w \\sim N(0, \\tau^2 I), \\quad y_i \\sim N(x_i^T w, \\sigma^2)
"""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule, PyroSample

TAU, SIGMA = 2.0, 0.5
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(30, 3, generator=GENERATOR)
Y = X @ torch.tensor([1.0, -2.0, 0.5]) + SIGMA * torch.randn(30, generator=GENERATOR)


def with_size(x, y=None, size=None):
    w = pyro.sample("w", dist.Normal(0.0, TAU).expand([x.shape[1]]).to_event(1))
    n_rows = len(x) if size is None else size
    with pyro.plate("data", n_rows, subsample=torch.arange(len(x))):
        return pyro.sample("y", dist.Normal(x @ w, SIGMA), obs=y)


def without_size(x, y=None):
    w = pyro.sample("w", dist.Normal(torch.zeros(x.shape[1]), TAU).to_event(1))
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.Normal(x @ w, SIGMA), obs=y)


def in_a_plate(x, y=None):
    """The weights are drawn in a plate of their own."""
    with pyro.plate("features", x.shape[1]):
        w = pyro.sample("w", dist.Normal(0.0, TAU))
    pyro.deterministic("mean", x @ w)
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.Normal(x @ w, SIGMA), obs=y)


def with_a_branch(x, y=None):
    """A branch on a draw, as vmap cannot take one."""
    w = pyro.sample("w", dist.Normal(0.0, TAU).expand([x.shape[1]]).to_event(1))
    mean = x @ w if w.sum() > 0 else (x * w).sum(-1)
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.Normal(mean, SIGMA), obs=y)


class Module(PyroModule):
    def __init__(self):
        super().__init__()
        self.w = PyroSample(dist.Normal(0.0, TAU).expand([3]).to_event(1))

    def forward(self, x, y=None):
        w = self.w
        with pyro.plate("rows", len(x)):
            return pyro.sample("y", dist.Normal(x @ w, SIGMA), obs=y)


PROGRAMS = {
    "with size": lambda: with_size,
    "without size": lambda: without_size,
    "in a plate": lambda: in_a_plate,
    "with a branch": lambda: with_a_branch,
    "module": Module,
}


def posterior(x=X, y=Y):
    """The mean and covariance of the weights."""
    precision = x.mT @ x / SIGMA**2 + torch.eye(x.shape[1]) / TAU**2
    covariance = torch.linalg.inv(precision)
    return covariance @ (x.mT @ y) / SIGMA**2, covariance


def log_density(x, y, given=(X, Y)):
    """The log posterior predictive density of one row, given others."""
    mean, covariance = posterior(*given)
    scale = math.sqrt(SIGMA**2 + float(x @ covariance @ x))
    return float(torch.distributions.Normal(x @ mean, scale).log_prob(y))


def expected_loo(x=X, y=Y):
    """The exact log density of rows left out."""
    rows = torch.arange(len(x))
    kept = [rows != i for i in rows]
    return sum(log_density(x[i], y[i], (x[k], y[k])) for i, k in zip(rows, kept, strict=True))
