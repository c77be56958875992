"""Folds that are left out, against ArviZ's own, which has them from version 1 on."""

import arviz as az
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_ugmm.diagnostics import kfold
from tests.diagnostics.arviz_words import IS_BEFORE_1, draws_of

pytestmark = pytest.mark.skipif(IS_BEFORE_1, reason="ArviZ has it from version 1 on")
Y = np.random.default_rng(0).normal(size=12) + 1
FOLDS = np.arange(12) % 3


def center(y):
    mean = pyro.sample("mean", dist.Normal(y.new_zeros(()), 1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def log_likelihoods(mean, y):
    """Of rows under draws ``(1, S)``."""
    return -0.5 * (y - mean[..., None]) ** 2 - 0.5 * np.log(2 * np.pi)


def refitted():
    """A wrapper that draws from the posterior in closed form."""
    import xarray
    from arviz_stats.loo import SamplingWrapper

    class Wrapper(SamplingWrapper):
        def sel_observations(self, idx):
            return np.delete(Y, idx), np.atleast_1d(Y[idx])

        def sample(self, modified_observed_data):
            y, rng = modified_observed_data, np.random.default_rng(0)
            return y.sum() / (len(y) + 1) + rng.normal(size=(1, 8000)) / (len(y) + 1) ** 0.5

        def get_inference_data(self, fitted_model):
            return draws_of(posterior={"mean": fitted_model})

        def log_likelihood__i(self, excluded_obs, idata__i):
            values = log_likelihoods(idata__i.posterior["mean"].values, excluded_obs)
            return xarray.DataArray(values, dims=("chain", "draw", "rows"))

    mean = Wrapper.sample(None, Y)
    terms = {"y": log_likelihoods(mean, Y)}
    dims = {"y": ["rows"]}
    idata = draws_of(
        dims=dims, posterior={"mean": mean}, log_likelihood=terms, observed_data={"y": Y}
    )
    return idata, Wrapper(model=None, idata_orig=idata)


def test_it_is_arvizs():
    """But for the error, whose variance ArviZ divides by n here, and by n - 1 for LOO."""
    idata, wrapper = refitted()
    theirs = az.loo_kfold(idata, wrapper, folds=FOLDS + 1, k=3, pointwise=True)
    ours = kfold(center, None, torch.as_tensor(Y), folds=FOLDS, seed=0, progress=False)
    np.testing.assert_allclose(ours.elpd_i.values, theirs.elpd_i.values, atol=0.06)
    assert ours.elpd == pytest.approx(theirs.elpd, abs=0.15)
    assert ours.se == pytest.approx(theirs.se * (12 / 11) ** 0.5, rel=0.05)
