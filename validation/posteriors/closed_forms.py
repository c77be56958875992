"""Models whose evidence has a closed form, or is an integral over two numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from scipy import integrate, special, stats
from torch import Tensor

from pyro_ugmm.models import BayesianGaussianMixture, Priors

__all__ = ["KNOWN", "Known"]

_N_POINTS = 201


@dataclass(frozen=True, eq=False)
class Known:
    """A model, its data, and the logarithm of its evidence."""

    title: str
    how: str
    model: Any
    rows: tuple[Tensor, ...]
    log_evidence: float


def _normal(n: int = 50) -> Known:
    """A normal mean of known noise."""
    x = torch.linspace(-1.0, 2.0, n, dtype=torch.float64)

    def model(x: Tensor) -> Tensor:
        mean = pyro.sample("mean", dist.Normal(x.new_zeros(()), 2.0))
        with pyro.plate("data", len(x)):
            return pyro.sample("x", dist.Normal(mean, 0.8), obs=x)

    covariance = 4.0 + 0.64 * torch.eye(n, dtype=torch.float64)
    marginal = stats.multivariate_normal(cov=covariance.numpy())
    return Known("normal mean", "closed form", model, (x,), float(marginal.logpdf(x.numpy())))


def _binomial(n: int = 40) -> Known:
    """The chance of a success."""
    y = (torch.arange(n) % 4 == 0).double()

    def model(y: Tensor) -> Tensor:
        chance = pyro.sample("chance", dist.Beta(y.new_tensor(2.0), y.new_tensor(3.0)))
        with pyro.plate("data", len(y)):
            return pyro.sample("y", dist.Bernoulli(chance), obs=y)

    n_successes = float(y.sum())
    log_evidence = special.betaln(2 + n_successes, 3 + n - n_successes) - special.betaln(2, 3)
    return Known("chance of a success", "closed form", model, (y,), float(log_evidence))


def _one_component(n: int = 60) -> Known:
    """A mean and a variance with independent priors, which are not conjugate."""
    x = torch.linspace(-1.0, 1.0, n, dtype=torch.float64).unsqueeze(-1) ** 3 + 3
    model = BayesianGaussianMixture(1, 1, priors=Priors.from_data(x)).double()
    center, spread, values = float(x.mean()), float(model.priors.spread), x[:, 0].numpy()
    log_variance = np.linspace(-6.0, 4.0, _N_POINTS)[:, None] + 2 * math.log(spread)
    mean = np.linspace(center - 3 * spread, center + 3 * spread, _N_POINTS)
    rows = stats.norm(mean[..., None], np.exp(0.5 * log_variance)[..., None]).logpdf(values)
    priors = stats.norm(center, 2 * spread).logpdf(mean)
    priors = priors + stats.norm(-1.5 + 2 * math.log(spread), 1.5).logpdf(log_variance)
    log_evidence = _integral(rows.sum(-1) + priors, log_variance[:, 0], mean)
    return Known("one component in one dimension", "quadrature", model, (x,), log_evidence)


def _two_means() -> Known:
    """Two components of which only the means are not known."""
    x = torch.tensor([-2.1, -1.7, -2.4, 1.9, 2.2, 2.6, 1.5], dtype=torch.float64)

    def model(x: Tensor) -> Tensor:
        means = pyro.sample("means", dist.Normal(x.new_zeros(2), 3.0).to_event(1))
        weights = dist.Categorical(x.new_tensor([0.5, 0.5]))
        with pyro.plate("data", len(x)):
            rows = dist.MixtureSameFamily(weights, dist.Normal(means, 1.0))
            return pyro.sample("x", rows, obs=x)

    grid = np.linspace(-20.0, 20.0, _N_POINTS)
    of_one = stats.norm(grid[:, None]).logpdf(x.numpy()) - math.log(2)
    rows = np.logaddexp(of_one[:, None], of_one)
    priors = stats.norm(0, 3).logpdf(grid)
    log_evidence = _integral(rows.sum(-1) + priors[:, None] + priors, grid, grid)
    return Known("two unknown means, two modes", "quadrature", model, (x,), log_evidence)


def _integral(log_density: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Returns the logarithm of the integral of a density on a grid, by the trapezoidal rule."""
    most = log_density.max()
    over_second = integrate.trapezoid(np.exp(log_density - most), second)
    return float(most + np.log(integrate.trapezoid(over_second, first)))


KNOWN: dict[str, Callable[[], Known]] = {
    "normal": _normal,
    "binomial": _binomial,
    "one_component": _one_component,
    "two_means": _two_means,
}
