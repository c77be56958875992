"""LOO against ArviZ's own, of chains and (from its version 1 on) of draws of a guide."""

import arviz as az
import numpy as np
import pytest

from pyro_ugmm.diagnostics import loo
from tests.diagnostics.arviz_words import BY_ROW, IS_BEFORE_1, PARAMETERS, TOTAL, draws_of

N_DRAWS, N_ROWS = 500, 6
pytestmark = [
    pytest.mark.filterwarnings("ignore:Estimated shape parameter"),
    pytest.mark.filterwarnings("ignore:Pareto k of"),
]


def normal_draws(n_chains=1, width=1.0):
    """Draws of a normal mean given rows with unit variance, and their log densities."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=N_ROWS)
    center, scale = y.sum() / (N_ROWS + 1), (N_ROWS + 1) ** -0.5
    mean = center + width * scale * rng.normal(size=(n_chains, N_DRAWS))
    if n_chains > 1:
        mean = (mean + np.roll(mean, 1, -1)) / 2**0.5  # draws that depend on each other
    log_likelihood = -0.5 * (y - mean[..., None]) ** 2
    log_p = log_likelihood.sum(-1) - 0.5 * mean**2
    log_q = -0.5 * ((mean - center) / (width * scale)) ** 2
    return mean, log_likelihood, log_p, log_q


def assert_same(ours, theirs, *names):
    for name in (TOTAL, "se", BY_ROW, "pareto_k", *names):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, err_msg=name)
    assert ours["good_k"] == pytest.approx(theirs["good_k"])


@pytest.mark.parametrize("n_chains", [1, 3])
def test_of_chains_it_is_arvizs(n_chains):
    mean, log_likelihood, *_ = normal_draws(n_chains)
    idata = draws_of(posterior={"mean": mean}, log_likelihood={"y": log_likelihood})
    assert_same(loo(idata), az.loo(idata, pointwise=True), PARAMETERS)


@pytest.mark.skipif(IS_BEFORE_1, reason="ArviZ has it from version 1 on")
@pytest.mark.parametrize("width", [0.8, 1.3])
def test_of_a_guide_it_is_arvizs(width):
    """But for the number of parameters, which ArviZ counts from the guide, not the posterior."""
    mean, log_likelihood, log_p, log_q = normal_draws(width=width)
    idata = draws_of(
        posterior={"mean": mean},
        log_likelihood={"y": log_likelihood},
        sample_stats={"log_p": log_p, "log_q": log_q},
    )
    stats = idata.sample_stats
    theirs = az.loo_approximate_posterior(idata, stats["log_p"], stats["log_q"], pointwise=True)
    assert_same(loo(idata), theirs)


@pytest.mark.parametrize("n_chains", [1, 3])
def test_a_row_that_no_draw_changes_is_worth_what_it_is(n_chains):
    mean, log_likelihood, *_ = normal_draws(n_chains)
    whole = draws_of(posterior={"mean": mean}, log_likelihood={"y": log_likelihood})
    constant = np.concatenate([np.full_like(log_likelihood[..., :1], -1.5), log_likelihood], -1)
    estimate = loo(draws_of(posterior={"mean": mean}, log_likelihood={"y": constant}))
    np.testing.assert_allclose(estimate["elpd_i"][1:], loo(whole)["elpd_i"], rtol=1e-12)
    assert estimate["elpd_i"][0] == pytest.approx(-1.5)
    assert estimate["pareto_k"][0] == -np.inf


def test_the_names_of_arviz_1_are_known_before():
    mean, log_likelihood, *_ = normal_draws()
    estimate = loo(draws_of(posterior={"mean": mean}, log_likelihood={"y": log_likelihood}))
    assert (estimate.elpd, estimate.p) == (estimate[TOTAL], estimate[PARAMETERS])
    assert estimate.elpd_i is estimate[BY_ROW]
    assert estimate.elpd == pytest.approx(float(estimate.elpd_i.sum()))
    assert str(estimate).startswith("Computed from 500 posterior samples and 6 observations")


def test_draws_too_few_to_smooth_are_not_to_be_trusted():
    mean, log_likelihood, *_ = normal_draws()
    few = {"mean": mean[:, :12]}, {"y": log_likelihood[:, :12]}
    estimate = loo(draws_of(posterior=few[0], log_likelihood=few[1]))
    assert (estimate.pareto_k == np.inf).all() and estimate.warning
    harmonic = -np.log(np.exp(-log_likelihood[0, :12]).mean(0))
    np.testing.assert_allclose(estimate.elpd_i, harmonic, rtol=1e-10)
