"""Ratios of posterior and guide: against a normal posterior, and ArviZ's own limit."""

import math
import warnings

import arviz as az
import numpy as np
import pytest
from pyro.infer.autoguide import AutoDelta

from pyro_ugmm.diagnostics import importance_resample, pareto_k, to_inference_data
from pyro_ugmm.diagnostics.importance import good_k
from pyro_ugmm.training import fit_svi
from tests.diagnostics.arviz_words import draws_of
from tests.models.mixtures import mixture, rows


def from_a_guide(scale, n=4000):
    """Draws of a normal guide of this scale, where the posterior is standard normal."""
    draws = scale * np.random.default_rng(0).normal(size=(1, n))
    log_q = -0.5 * (draws / scale) ** 2 - np.log(scale)
    return draws_of(
        posterior={"theta": draws, "means": np.stack([draws, draws], -1)},
        log_likelihood={"y": np.stack([draws, 2 * draws], -1)},
        posterior_predictive={"y": np.stack([draws, draws], -1)},
        prior={"theta": draws[:, :10]},
        sample_stats={"log_p": -0.5 * draws**2, "log_q": log_q},
    )


@pytest.mark.parametrize(("scale", "good"), [(1.0, True), (1.3, True), (0.3, False)])
def test_pareto_k_tells_a_good_guide_from_a_narrow_one(scale, good):
    k, verdict = pareto_k(from_a_guide(scale))
    assert (k < 0.7) == good
    assert ("near its own mode the guide is close enough" in verdict) == good
    assert ("sample_posterior(model, x, y, start=guide)" in verdict) != good


def test_the_limit_of_pareto_k_is_arvizs():
    for n in (100, 500, 5000):
        idata = from_a_guide(1.2, n)
        plain = draws_of(
            posterior={"theta": idata.posterior["theta"].values},
            log_likelihood={"y": idata.log_likelihood["y"].values},
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert good_k(n) == pytest.approx(az.loo(plain, pointwise=True).good_k)


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.5])
def test_draws_chosen_anew_are_the_posteriors(scale):
    idata = from_a_guide(scale, 20_000)
    found = importance_resample(idata, seed=0)
    theta = found.posterior["theta"].values
    # Five standard errors, of as many independent draws as the weights leave.
    error = 5 / found.posterior.attrs["effective_draws"] ** 0.5
    assert theta.std() == pytest.approx(1.0, abs=max(error, 0.05))
    assert abs(theta.mean()) < max(error, 0.05)
    # What belongs to a draw goes with it; what does not stays.
    np.testing.assert_array_equal(found.log_likelihood["y"][..., 0], theta)
    np.testing.assert_array_equal(found.posterior_predictive["y"][..., 0], theta)
    np.testing.assert_array_equal(found.sample_stats["log_p"], -0.5 * theta**2)
    assert "log_q" not in found.sample_stats and found.prior.equals(idata.prior)
    assert idata.posterior["theta"].std() == pytest.approx(scale, rel=0.02)
    n, effective = 20_000, found.posterior.attrs["effective_draws"]
    assert effective == pytest.approx(n, rel=1e-6) if scale == 1 else effective < n
    again = importance_resample(idata, num_samples=30, seed=0)
    assert again.posterior.sizes["draw"] == again.sample_stats.sizes["draw"] == 30
    assert again.posterior.equals(importance_resample(idata, num_samples=30, seed=0).posterior)


def test_choosing_anew_needs_log_densities():
    idata = from_a_guide(1.0, 100)
    with pytest.raises(ValueError, match="idata: expected draws from a guide given data"):
        importance_resample(importance_resample(idata))
    with pytest.raises(ValueError, match="num_samples: expected a positive integer"):
        importance_resample(idata, num_samples=0)


def test_pareto_k_cannot_be_told_from_draws_all_alike():
    model, x = mixture("diagonal"), rows(40)
    guide = AutoDelta(model)
    fit_svi(model, guide, x, steps=2, progress=False)
    k, verdict = pareto_k(to_inference_data(model, guide, x, num_samples=200))
    assert math.isnan(k) and "draws all alike" in verdict
