"""The steps of EM, taken by a loop of one's own."""

import dataclasses
import math

import pytest
import torch

from pyro_ugmm.distributions import GaussianMixture
from pyro_ugmm.em import ConjugatePrior, EMAlgorithm, EMFitter, initialize

from .cases import STRUCTURE_NAMES, assert_same, clusters, initialized

X = clusters(120)
WEIGHT = torch.linspace(0.5, 1.5, 120).double()
WEIGHT = WEIGHT / WEIGHT.mean()
PRIOR = ConjugatePrior(X.mean(0), torch.cov(X.T), mean_strength=1, covariance_strength=3)
HOLES = torch.where(torch.eye(3).bool().repeat(40, 1), torch.nan, X)


def steps(algorithm, n_steps, start, *data):
    state = algorithm.init(start, *data)
    for _ in range(n_steps):
        state = algorithm.step(state, *data)
    return state


@pytest.mark.parametrize("prior", [None, PRIOR], ids=["no prior", "prior"])
@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
def test_the_steps_are_those_of_a_fit(structure, prior):
    start = initialized(X, 3, structure, seed=0)
    settings = {"reg_covar": 1e-5, "prior": prior}
    state = steps(EMAlgorithm(**settings), 4, start, X, WEIGHT)
    fit = EMFitter(tol=0, max_iter=4, progress=False, **settings).fit(X, start, WEIGHT)
    assert state.mixture.batch_shape == () and state.n_steps == 4
    assert_same(state.mixture, fit.mixture, rtol=1e-9, atol=1e-12)
    assert state.log_likelihood.item() == pytest.approx(fit.log_likelihood)
    assert state.objective.item() == pytest.approx(fit.objective)


@pytest.mark.parametrize("structure", ["full", "diagonal"])
def test_a_batch_takes_the_steps_of_each(structure):
    starts = initialized(X, 3, structure, n_init=3, seed=0)
    together = steps(EMAlgorithm(), 3, starts, X)
    for i in range(3):
        alone = steps(EMAlgorithm(), 3, starts.reindex(lambda t, i=i: t[i]), X)
        assert_same(together.mixture.reindex(lambda t, i=i: t[i]), alone.mixture, rtol=1e-9)
        torch.testing.assert_close(together.log_likelihood[i], alone.log_likelihood)


def test_a_loop_of_ones_own_climbs_to_where_nothing_changes():
    em = EMAlgorithm()
    state = em.init(initialize(X, 3, seed=0), X)
    assert state.n_steps == 0 and state.change == math.inf
    while state.change > 1e-8:
        before, state = state, em.step(state, X)
        assert state.log_likelihood > before.log_likelihood - 1e-12
        torch.testing.assert_close(state.change, state.objective - before.objective)
    torch.testing.assert_close(state.log_likelihood, state.mixture.log_prob(X).mean())


def test_a_step_leaves_its_state_as_it_was():
    em = EMAlgorithm()
    state = em.init(initialize(X, 3, seed=0), X)
    before = state.mixture.means.clone(), state.statistics.second.clone()
    once, again = em.step(state, X), em.step(state, X)
    assert torch.equal(once.mixture.means, again.mixture.means)
    assert torch.equal(state.mixture.means, before[0])
    assert torch.equal(state.statistics.second, before[1])
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.n_steps = 3


def test_each_step_may_see_other_rows_and_missing_entries():
    start = initialize(HOLES, 2, seed=0, missing="marginalize")
    state = steps(EMAlgorithm(), 2, start, HOLES)
    fit = EMFitter(tol=0, max_iter=2, progress=False).fit(HOLES, start)
    assert_same(state.mixture, fit.mixture, rtol=1e-9)
    other = EMAlgorithm().step(state, X[:60])
    torch.testing.assert_close(other.log_likelihood, other.mixture.log_prob(X[:60]).mean())


def test_no_gradient_goes_through_a_step():
    start = initialize(X, 2, seed=0)
    means = start.means.clone().requires_grad_()
    tracked = GaussianMixture(start.weights, means, start.covariance)
    assert not steps(EMAlgorithm(), 1, tracked, X).mixture.means.requires_grad


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: EMAlgorithm(reg_covar=-1), "reg_covar: expected a finite non-negative"),
        (lambda: EMAlgorithm(prior=3), "prior: expected a ConjugatePrior"),
        (lambda: EMAlgorithm().init("a", X), "start: expected a GaussianMixture"),
        (lambda: EMAlgorithm().init(initialize(X, 2), X.float()), "x: expected torch.float64"),
        (
            lambda: EMAlgorithm(prior=PRIOR).init(initialize(X.float(), 2), X.float()),
            "prior: expected torch.float32",
        ),
        (
            lambda: EMAlgorithm(prior=PRIOR).init(initialize(X[:, :2], 2), X[:, :2]),
            "prior: expected 2 features",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
