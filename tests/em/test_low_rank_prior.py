"""Factor analyzers with a prior: rows in its place, full covariances, and scipy's optimum."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from pyro_ugmm.distributions import GaussianMixture, LowRankCovariance
from pyro_ugmm.em import (
    ConjugatePrior,
    EMAlgorithm,
    EMFitter,
    GaussianMixtureEstimator,
    StepwiseEM,
    initialize,
    select,
)

from .cases import analyzers, clusters

KAPPA, NU = 3.0, 12.0


def prior_for(x, mean_strength=KAPPA, concentration=2.5):
    return ConjugatePrior(
        x.mean(0) + 0.5,
        torch.cov(x.T) / 4,
        mean_strength=mean_strength,
        covariance_strength=NU,
        concentration=concentration,
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rank", [1, 2, 5])
def test_the_posterior_never_falls(dtype, seed, rank):
    """Looked at in double precision: in single, the last digits are lost where a variance is zero
    next to its feature's.
    """
    x = clusters(60, 5, 2, dtype, seed)
    em, look = (EMAlgorithm(reg_covar=0, prior=prior_for(rows)) for rows in (x, x.double()))
    state = em.init(initialize(x, 3, "low_rank", rank=rank, seed=seed), x)
    objective = []
    for _ in range(40):
        state = em.step(state, x)
        objective.append(look.init(state.mixture.to(torch.float64), x.double()).objective)
    assert torch.stack(objective).diff().min() > (-1e-11 if dtype == torch.float64 else -1e-5)


def test_a_step_is_that_of_weighted_rows_in_the_place_of_the_prior():
    """Rows of total weight nu about the mean, with second moments S, are what the prior adds."""
    x = clusters(50, 4, 1)
    prior = prior_for(x, mean_strength=0.0)
    corners = 2 * torch.linalg.cholesky(prior.covariance).T
    rows = torch.cat([x, x.mean(0) + corners, x.mean(0) - corners])
    weights = torch.cat([torch.ones(50), torch.full((8,), NU / 8)]).double()
    start = initialize(x, 1, "low_rank", rank=2, seed=0)
    for n_steps in (1, 2, 30):
        settings = {"tol": 0, "max_iter": n_steps, "reg_covar": 0, "progress": False}
        ours = EMFitter(prior=prior, **settings).fit(x, start).mixture
        theirs = EMFitter(**settings).fit(rows, start, weights).mixture
        for name, tensor in ours.covariance.tensors().items():
            torch.testing.assert_close(tensor, theirs.covariance.tensors()[name])


def fitter(prior):
    return EMFitter(tol=1e-13, max_iter=3000, reg_covar=0, progress=False, prior=prior)


def closed_form(x, prior):
    """The most probable full covariance of a single component."""
    gap = x.mean(0) - prior.mean
    scatter = len(x) * torch.cov(x.T, correction=0) + NU * prior.covariance
    scatter = scatter + KAPPA * len(x) / (KAPPA + len(x)) * torch.outer(gap, gap)
    return scatter / (len(x) + NU)


def test_the_rank_of_all_features_is_the_full_covariance():
    x = clusters(80, 4, 1)
    fit = fitter(prior := prior_for(x)).fit
    dense = fit(x, initialize(x, 1, "low_rank", rank=4, seed=0)).mixture.covariance.dense(1, 4)
    torch.testing.assert_close(dense[0], closed_form(x, prior), rtol=1e-2, atol=1e-2)
    low = fit(x, initialize(x, 2, "low_rank", rank=4, seed=0))
    assert low.objective == pytest.approx(fit(x, initialize(x, 2, seed=0)).objective, abs=1e-5)


def log_posterior(x, prior, mean, factor, variances):
    """By scipy and numpy alone, but for a constant."""
    sigma = factor @ factor.T + np.diag(variances)
    inverse, gap = np.linalg.inv(sigma), mean - prior.mean.numpy()
    spread = np.linalg.slogdet(sigma)[1] + np.trace(prior.covariance.numpy() @ inverse)
    likelihood = multivariate_normal(mean, sigma).logpdf(x.numpy()).sum()
    return likelihood - 0.5 * NU * spread - 0.5 * KAPPA * gap @ inverse @ gap


def test_one_component_ends_at_scipys_optimum():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 1)) * [2, -1, 1, 0.5] + rng.normal(size=(60, 4))
    prior = prior_for(x := torch.from_numpy(x))

    def objective(parameters):
        mean, log_variances, factor = np.split(parameters, [4, 8])
        return -log_posterior(x, prior, mean, factor[:, None], np.exp(log_variances))

    start = np.concatenate([x.mean(0), np.zeros(4), [1, -1, 1, 1]])
    theirs = minimize(objective, start, method="BFGS")
    result = fitter(prior).fit(x, initialize(x, 1, "low_rank", rank=1, seed=0))
    factor, variances = (t[0].numpy() for t in result.mixture.covariance.tensors().values())
    found = log_posterior(x, prior, result.mixture.means[0].numpy(), factor, variances)
    assert result.objective * 60 == pytest.approx(found, abs=1e-9)
    assert found == pytest.approx(-theirs.fun, abs=1e-6)
    np.testing.assert_allclose(variances, np.exp(theirs.x[4:8]), rtol=1e-3)
    sign = np.sign(factor[0] * theirs.x[8])
    np.testing.assert_allclose(sign * factor[:, 0], theirs.x[8:], rtol=1e-3)


def test_where_it_ends_the_posterior_is_stationary():
    x, _ = analyzers(300, 6)
    fitted = fitter(prior := prior_for(x)).fit(x, initialize(x, 2, "low_rank", rank=2, seed=0))
    weights, means, *values = (t.requires_grad_() for t in fitted.mixture.tensors().values())
    again = GaussianMixture(weights / weights.sum(), means, LowRankCovariance(*values))
    (again.log_prob(x).sum() + prior.log_density(again)).backward()
    for tensor in (weights, means, *values):
        assert tensor.grad.abs().max() < 5e-3 * len(x)  # some variances come to rest slowly


@pytest.mark.parametrize("seed", [8, 18])
def test_a_diagonal_prior_keeps_variances_from_zero(seed):
    """Where one goes there without a prior, and with the covariance of the data for one."""
    generator = torch.Generator().manual_seed(seed)
    kind = {"generator": generator, "dtype": torch.float64}
    x = torch.randn(40, 3, **kind) @ torch.randn(3, 8, **kind) + 0.7 * torch.randn(40, 8, **kind)
    covariance, start = torch.cov(x.T), initialize(x, 1, "low_rank", rank=4, seed=0)
    smallest = []
    for matrix in (covariance, covariance.diagonal().diag()):
        prior = ConjugatePrior(x.mean(0), matrix, covariance_strength=8.0)
        fit = EMFitter(prior=prior, reg_covar=0, tol=0, max_iter=300, progress=False)
        variances = fit.fit(x, start).mixture.covariance.tensors()["variances"][0]
        smallest.append((variances / covariance.diagonal()).min())
    assert smallest[1] > max(4 * smallest[0], 0.01)


def test_the_ways_to_a_fit_take_a_prior():
    x, _ = analyzers(400, 6)
    prior = prior_for(x)
    start = initialize(x, 2, "low_rank", rank=2, seed=0)
    fit = EMFitter(prior=prior, progress=False, tol=1e-6, max_iter=500).fit(x, start)
    fitter = EMFitter(prior=prior, progress=False)
    chosen = select(x, 2, "low_rank", rank=[1, 2], fitter=fitter, seed=0, progress=False)
    assert {row.rank for row in chosen.table} == {1, 2}
    model = GaussianMixtureEstimator(
        2, covariance_type="low_rank", rank=2, prior=prior, random_state=0, tol=1e-6, max_iter=500
    ).fit(x.numpy())
    assert model.lower_bound_ == pytest.approx(fit.objective, abs=1e-3)
    em = StepwiseEM(batch_size=100, prior=prior)
    state = em.init(start)
    for block in x.repeat(10, 1)[torch.randperm(4000)].split(100):
        state = em.step(state, block)
    assert state.mixture.log_prob(x).mean() == pytest.approx(fit.log_likelihood, abs=0.4)
