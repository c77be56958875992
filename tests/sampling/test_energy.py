"""Energies of chains, against what they are distributed as, and for ArviZ."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from pyro.infer import MCMC, NUTS

from pyro_ugmm.diagnostics import to_inference_data
from pyro_ugmm.sampling import NUTSWithEnergy
from tests.diagnostics.arviz_words import energy_fractions

N_DIMS, N_DRAWS = 3, 100
X = torch.randn(10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def curve(x, y=None):
    scale = torch.ones(N_DIMS, dtype=x.dtype)
    coefficients = pyro.sample("coefficients", dist.Normal(0.0, scale).to_event(1))
    powers = x[:, None] ** torch.arange(N_DIMS)
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(powers @ coefficients, 0.5), obs=y)


def run(kernel, **options):
    pyro.set_rng_seed(0)
    mcmc = MCMC(
        kernel(curve), num_samples=N_DRAWS, warmup_steps=30, disable_progbar=True, **options
    )
    mcmc.run(X, X.sin())
    return mcmc


@pytest.fixture(scope="module")
def idata():
    mcmc = run(NUTSWithEnergy, num_chains=2, mp_context="spawn")
    return to_inference_data(curve, mcmc, X, X.sin(), num_samples=20, seed=0)


def test_above_the_draw_before_it_is_the_energy_of_a_new_momentum(idata):
    """Half of a chi-squared variable of as many degrees as there are parameters, independent."""
    stats = idata.sample_stats
    kinetic = stats["energy"].values[:, 1:] + stats["log_p"].values[:, :-1]
    assert kinetic.shape == (2, N_DRAWS - 1) and kinetic.min() > 0
    law = scipy.stats.gamma(N_DIMS / 2)
    assert scipy.stats.kstest(kinetic.ravel(), law.cdf).pvalue > 1e-6
    assert abs(np.corrcoef(*kinetic)[0, 1]) < 6 / math.sqrt(N_DRAWS)


def test_arviz_judges_chains_by_it(idata):
    fractions = energy_fractions(idata)
    assert fractions.shape == (2,) and (fractions > 0.2).all()


def test_the_draws_are_pyros_own_kernels_which_keeps_no_energy():
    ours, theirs = run(NUTSWithEnergy), run(NUTS)
    drawn = [mcmc.get_samples()["coefficients"] for mcmc in (ours, theirs)]
    torch.testing.assert_close(*drawn, rtol=0, atol=0)
    assert "energy" not in to_inference_data(curve, theirs, X, X.sin()).sample_stats


def test_a_kernel_that_runs_again_forgets_the_run_before():
    mcmc = run(NUTSWithEnergy)
    mcmc.run(X, X.sin())
    idata = to_inference_data(curve, mcmc, X, X.sin())
    assert idata.sample_stats["energy"].shape == (1, N_DRAWS)
