"""A flow as a guide, where zuko is installed."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_ugmm.diagnostics import pareto_k, to_inference_data
from pyro_ugmm.guides import AutoFlow, flow, full_rank
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.training import fit_svi

pytest.importorskip("zuko")

QUIET = {"seed": 0, "progress": False}


def banana(x):
    """Two values, one of which is near the square of the other, whatever the row says."""
    first = pyro.sample("first", dist.Normal(0.0, 1.0))
    second = pyro.sample("second", dist.Normal(first**2, 0.1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(0 * second, 1.0).expand([len(x)]), obs=x)


def test_it_bends_where_a_normal_cannot():
    x = torch.zeros(1)
    bounds = {}
    for make in (flow, full_rank):
        result = fit_svi(
            banana,
            make(banana, init_scale=0.5),
            x,
            steps=300,
            learning_rate=0.02,
            **QUIET,
        )
        bounds[make] = float(result.losses[-100:].mean())
    evidence = -0.5 * np.log(2 * np.pi)
    assert bounds[flow] >= -evidence - 0.3  # a bound is one
    assert bounds[flow] < bounds[full_rank] - 0.5


def test_what_takes_a_guide_takes_it():
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    model = BayesianGaussianMixture(1, 2, priors=Priors.from_data(x))
    result = fit_svi(model, flow(model, x=x), x, steps=30, learning_rate=0.01, **QUIET)
    idata = to_inference_data(model, result.guide, x, num_samples=100, seed=0)
    assert np.isfinite(pareto_k(idata)[0])
    posterior = result.guide.get_posterior()
    draws = posterior.sample((50,))
    assert draws.shape[0] == len(posterior.log_prob(draws)) == 50
    several = fit_svi(model, flow, x, steps=10, num_starts=2, **QUIET)
    assert all(isinstance(fit.guide, AutoFlow) for fit in several.fits)
    assert to_inference_data(model, several, x, num_samples=100).posterior.sizes["draw"] == 100
