"""Maximum a posteriori EM."""

import pytest
import torch

from pyro_ugmm.distributions import GaussianMixture
from pyro_ugmm.distributions.covariance import STRUCTURES
from pyro_ugmm.em import ConjugatePrior, EMFitter, initialize

from .cases import SHARED_NAMES, STRUCTURE_NAMES, assert_same, clusters, initialized, parameters

structures = pytest.mark.parametrize("structure", STRUCTURE_NAMES)


def prior(x, **strengths):
    strengths = {
        "mean_strength": 3.0,
        "covariance_strength": 12.0,
        "concentration": 2.5,
    } | strengths
    return ConjugatePrior(x.mean(0), torch.cov(x.T) / 4, **strengths)


def fit(x, start, **settings):
    return EMFitter(**{"tol": 0, "progress": False, "reg_covar": 0, **settings}).fit(x, start)


@pytest.mark.parametrize("structure", SHARED_NAMES)
def test_the_posterior_is_stationary_where_it_ends(structure):
    """The gradient of log-likelihood plus log prior vanishes, in parameters free of constraints."""
    x = clusters(120)
    chosen = prior(x)
    mixture = fit(x, initialized(x, 3, structure, seed=0), max_iter=1500, prior=chosen).mixture
    weights, means, values = (t.detach().clone() for t in parameters(mixture))
    logits = weights.log().requires_grad_()
    means.requires_grad_()
    values.requires_grad_()
    again = GaussianMixture(logits.softmax(-1), means, STRUCTURES[structure](values))
    (again.log_prob(x).sum() + chosen.log_density(again)).backward()
    for gradient in (logits.grad, means.grad, values.grad):
        assert gradient.abs().max() < 1e-4


@structures
def test_the_objective_never_falls_and_stops_the_fit(structure):
    x = clusters(60)
    chosen = prior(x)
    start = initialized(x, 3, structure, seed=0)
    objective = []
    for n_iter in range(1, 15):
        mixture = fit(x, start, max_iter=n_iter, prior=chosen).mixture
        objective.append((mixture.log_prob(x).sum() + chosen.log_density(mixture)).item())
    assert torch.tensor(objective).diff().min() > -1e-9
    assert fit(x, start, tol=1e-4, max_iter=500, prior=chosen).converged


@structures
def test_strength_zero_is_maximum_likelihood(structure):
    x = clusters(100)
    start = initialized(x, 3, structure, seed=0)
    none = prior(x, mean_strength=0.0, covariance_strength=0.0, concentration=1.0)
    a = fit(x, start, max_iter=10, prior=none)
    b = fit(x, start, max_iter=10)
    assert_same(a.mixture, b.mixture, rtol=1e-11, atol=1e-12)


def test_one_component_in_closed_form():
    x = clusters(50, n_clusters=1)
    chosen = prior(x, concentration=1.0)
    mixture = fit(x, initialize(x, 1), max_iter=1, prior=chosen).mixture
    n, kappa, nu = len(x), chosen.mean_strength, chosen.covariance_strength
    mean = (n * x.mean(0) + kappa * chosen.mean) / (n + kappa)
    gap = x.mean(0) - chosen.mean
    scatter = torch.cov(x.T, correction=0) * n + kappa * n / (kappa + n) * torch.outer(gap, gap)
    torch.testing.assert_close(mixture.means[0], mean)
    torch.testing.assert_close(
        mixture.covariance.values[0], (nu * chosen.covariance + scatter) / (n + nu)
    )


def test_a_prior_keeps_components_from_collapsing():
    x = torch.cat([clusters(100), torch.full((1, 3), 50.0)])
    start = initialize(x, 5, seed=0)
    without, with_prior = fit(x, start, reg_covar=1e-6), fit(x, start, prior=prior(x))
    assert any(f.kind == "collapsed" for f in without.findings)
    assert not with_prior.findings


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"mean": torch.zeros(())}, "mean: expected shape"),
        ({"covariance": torch.eye(2)}, r"covariance: expected shape \(3, 3\)"),
        ({"covariance": -torch.eye(3)}, "covariance: expected positive definite .* -1"),
        ({"mean_strength": -1.0}, "mean_strength: expected a finite non-negative"),
        ({"covariance_strength": float("nan")}, "covariance_strength"),
        ({"concentration": float("inf")}, "concentration: expected a finite"),
        ({"mean_strength": float("inf")}, "mean_strength: expected a finite"),
        ({"mean": torch.full((3,), torch.nan)}, "mean: expected finite values, got nan"),
        ({"mean": torch.zeros(2, 2, 3)}, "mean: expected shape"),
        ({"covariance": torch.eye(3) + torch.eye(3)[[1, 0, 2]].triu()}, "covariance: .*symmetric"),
        ({"concentration": 0.5}, "concentration: expected a finite number of at least 1"),
    ],
)
def test_bad_input(change, match):
    with pytest.raises(ValueError, match=match):
        ConjugatePrior(**{"mean": torch.zeros(3), "covariance": torch.eye(3), **change})


def test_a_prior_of_another_dimension_is_refused():
    x = clusters(20)
    wrong = ConjugatePrior(torch.zeros(2).double(), torch.eye(2).double())
    with pytest.raises(ValueError, match="prior: expected 3 features"):
        fit(x, initialize(x, 1), prior=wrong)


def test_a_prior_of_another_number_of_components_is_refused():
    x = clusters(20)
    wrong = ConjugatePrior(torch.zeros(4, 3).double(), torch.eye(3).double())
    with pytest.raises(
        ValueError, match=r"prior: expected a mean of shape \(3,\) or \(2, 3\), got"
    ):
        fit(x, initialize(x, 2), prior=wrong)
    with pytest.raises(ValueError, match="prior: expected a ConjugatePrior, or None, got str"):
        EMFitter(prior="weak")
    assert repr(wrong) == (
        "ConjugatePrior(n_features=3, mean_strength=0, covariance_strength=0, concentration=1)"
    )


@structures
def test_the_restart_of_the_highest_posterior_is_returned(structure):
    x = clusters(60)
    chosen = prior(x, covariance_strength=30.0)
    starts = initialized(x, 4, structure, method="random_from_data", n_init=12, seed=2)
    result = fit(x, starts, prior=chosen, max_iter=4)
    objectives = []
    for i in range(12):
        one = GaussianMixture(
            starts.weights[i], starts.means[i], starts.covariance.reindex(lambda t, i=i: t[i])
        )
        alone = fit(x, one, prior=chosen, max_iter=4)
        log_prior = chosen.log_density(alone.mixture).item() / len(x)
        assert alone.objective == pytest.approx(alone.log_likelihood + log_prior, abs=1e-10)
        objectives.append(alone.objective)
    assert result.objective == pytest.approx(max(objectives), abs=1e-8)
    assert "log posterior" in result.reason


@structures
def test_weights_of_rows_keep_their_size_against_the_prior(structure):
    x = clusters(90)
    start, chosen = initialized(x, 3, structure, seed=0), prior(x)
    weighted = EMFitter(progress=False, tol=0, prior=chosen).fit(x, start, torch.full((90,), 2.0))
    twice = EMFitter(progress=False, tol=0, prior=chosen).fit(x.repeat(2, 1), start)
    assert_same(weighted.mixture, twice.mixture, rtol=1e-9, atol=1e-10)
