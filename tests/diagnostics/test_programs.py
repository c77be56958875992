"""Diagnostics of programs of a user's own, against closed forms and against our models."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS

from pyro_ugmm.diagnostics import importance_resample, loo, pareto_k, to_inference_data
from pyro_ugmm.diagnostics.arviz_interface import group_names
from pyro_ugmm.guides import full_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from tests.diagnostics.arviz_words import TOTAL
from tests.programs.regressions import PROGRAMS, SIGMA, TAU, X, Y, expected_loo, posterior

MEAN, COVARIANCE = posterior()
by_program = pytest.mark.parametrize("program", [*PROGRAMS])
pytestmark = pytest.mark.filterwarnings("ignore:torch.vmap cannot", "ignore:Estimated shape")


def inferred(program, num_samples=400):
    model = PROGRAMS[program]()
    guide = full_rank(model, start={"w": MEAN}, x=X, y=Y)
    return to_inference_data(model, guide, X, Y, num_samples, seed=0)


@by_program
def test_leave_one_out_is_that_in_closed_form(program):
    idata = inferred(program)
    assert pareto_k(idata)[0] < 0.5
    assert loo(idata)[TOTAL] == pytest.approx(expected_loo(), abs=0.3)


@by_program
def test_densities_are_those_by_hand(program):
    idata = inferred(program, 50)
    w = torch.as_tensor(idata.posterior["w"].values[0])
    terms = torch.distributions.Normal(w @ X.mT, SIGMA).log_prob(Y)
    np.testing.assert_allclose(idata.log_likelihood["y"].values[0], terms, rtol=1e-3, atol=1e-4)
    log_p = torch.distributions.Normal(0.0, TAU).log_prob(w).sum(-1) + terms.sum(-1)
    np.testing.assert_allclose(idata.sample_stats["log_p"].values[0], log_p, rtol=1e-4, atol=1e-3)
    log_q = torch.distributions.MultivariateNormal(MEAN, COVARIANCE).log_prob(w)
    np.testing.assert_allclose(idata.sample_stats["log_q"].values[0], log_q, rtol=1e-3, atol=2e-2)


@by_program
def test_predictions_are_of_their_draws(program):
    idata = inferred(program)
    np.testing.assert_allclose(idata.prior["w"].std(("chain", "draw")), TAU, rtol=0.15)
    drawn = idata.posterior_predictive["y"].values[0]
    expected = (X @ COVARIANCE * X).sum(-1) + SIGMA**2
    np.testing.assert_allclose(drawn.mean(0), X @ MEAN, atol=5 * SIGMA / 20)
    np.testing.assert_allclose(drawn.var(0), expected, rtol=0.5)
    wide = (TAU**2 * X.square().sum(-1) + SIGMA**2).sqrt()
    np.testing.assert_allclose(idata.prior_predictive["y"].values[0].std(0), wide, rtol=0.3)
    assert (idata.observed_data["y"].values == Y.numpy()).all()
    assert (idata.constant_data["x"].values == X.numpy()).all()


def test_dimensions_are_named_by_plates():
    idata = inferred("in a plate", 20)
    assert idata.posterior["w"].dims == ("chain", "draw", "features")
    assert idata.log_likelihood["y"].dims == ("chain", "draw", "rows")
    assert idata.constant_data["x"].dims == ("rows", "x_dim_1")
    model = PROGRAMS["with size"]()
    guide, coords = full_rank(model, x=X, y=Y), {"w_dim_0": ["a", "b", "c"]}
    idata = to_inference_data(model, guide, X, Y, 20, coords=coords)
    assert [*idata.posterior["w_dim_0"].values] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="coords: expected dimensions among"):
        to_inference_data(model, guide, X, Y, 20, coords={"feature": ["a", "b", "c"]})


@by_program
def test_importance_resampling_widens_what_is_too_narrow(program):
    model = PROGRAMS[program]()
    guide = mean_field(model, start={"w": MEAN}, x=X, y=Y)
    idata = to_inference_data(model, guide, X, Y, 1000, seed=0)
    found = importance_resample(idata, seed=0).posterior["w"].std(("chain", "draw")).values
    np.testing.assert_allclose(found, COVARIANCE.diagonal().sqrt(), rtol=0.15)


def test_of_chains():
    model = PROGRAMS["without size"]()
    torch.manual_seed(0)
    mcmc = MCMC(NUTS(model), num_samples=100, warmup_steps=50, disable_progbar=True)
    mcmc.run(X, Y)
    idata = to_inference_data(model, mcmc, X, Y, num_samples=50, seed=0)
    assert idata.posterior["w"].shape == (1, 100, 3)
    assert loo(idata)[TOTAL] == pytest.approx(expected_loo(), abs=1.0)


def test_it_is_as_of_our_model_by_its_own_way():
    x = torch.cat([X[:, :2] - 3, X[:, :2] + 3])
    ours = BayesianGaussianMixture(2, 2, priors=Priors.from_data(x))

    def plain(x):
        return ours(x)

    values = ours.start_values()
    guides = [
        mean_field(model, start=start, x=x) for model, start in ((ours, None), (plain, values))
    ]
    draws = guides[0].median()
    for site, value in guides[1].median().items():
        torch.testing.assert_close(value, draws[site])
    expected = to_inference_data(ours, guides[0], x, num_samples=200, seed=0)
    found = to_inference_data(plain, guides[0], x, num_samples=200, seed=0)
    assert found.posterior["means"].shape == expected.posterior["means"].shape
    totals = [data.sample_stats["log_p"].values for data in (found, expected)]
    error = (sum(total.var() for total in totals) / 200) ** 0.5
    assert totals[0].mean() == pytest.approx(totals[1].mean(), abs=6 * error)
    sites = {name: torch.as_tensor(site.values[0]) for name, site in found.posterior.items()}
    terms = ours.row_terms(x, draws=sites)
    np.testing.assert_allclose(found.log_likelihood["x"].values[0], terms, rtol=1e-3, atol=1e-3)


def test_a_density_of_rows_without_labels():
    def model(x):
        loc = pyro.sample("loc", dist.Normal(0.0, 3.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    guide = full_rank(model, x=Y)
    idata = to_inference_data(model, guide, Y.numpy(), num_samples=100, seed=0)
    assert "constant_data" not in group_names(idata)
    assert idata.posterior_predictive["x"].shape == (1, 100, 30)
