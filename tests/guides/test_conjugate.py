"""The posterior of variational Bayes as a guide: densities, draws, and what takes guides."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from pyro_ugmm.diagnostics import pareto_k, to_inference_data
from pyro_ugmm.em import VariationalEM, VariationalPriors, initialize
from pyro_ugmm.em.variational.stick_breaking import GeneralizedDirichlet
from pyro_ugmm.guides import ConjugateGuide, MixtureGuide
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.sampling import sample_posterior

STRUCTURES = ["full", "tied", "diagonal", "spherical"]


def rows(n_features, n_rows=40, dtype=torch.float64):
    """Two clusters of correlated features."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(n_rows, n_features))
    noise[:, -1] += noise[:, 0]
    noise[: n_rows // 4] += 5
    return torch.from_numpy(noise).to(dtype)


def fit(x, covariance, n_components=2, **settings):
    start = initialize(x, n_components, covariance, seed=0)
    return VariationalEM(weight_prior="dirichlet_distribution", **settings).fit(x, start)


# -- densities ----------------------------------------------------------------------------------


def log_volume(function, point):
    """The logarithm of a Jacobian determinant, by central differences."""
    step, columns = 1e-6, []
    for i in range(len(point)):
        move = np.eye(len(point))[i] * step
        columns.append((function(point + move) - function(point - move)) / (2 * step))
    return np.linalg.slogdet(np.stack(columns, -1))[1]


def covariance_entries(point, n_features):
    """The lower triangle of a matrix, given variances and the strict lower triangle of the
    Cholesky factor of correlations.
    """
    factor = np.zeros((n_features, n_features))
    factor[np.tril_indices(n_features, -1)] = point[n_features:]
    np.fill_diagonal(factor, np.sqrt(1 - (factor**2).sum(1)))
    factor = np.sqrt(point[:n_features])[:, None] * factor
    return (factor @ factor.T)[np.tril_indices(n_features)]


def log_density_of_matrix(variances, correlations, degrees, scatter):
    n_features = len(variances)
    lower = correlations[np.tril_indices(n_features, -1)]
    point = np.concatenate([variances, lower])
    factor = np.sqrt(variances)[:, None] * correlations
    density = stats.invwishart.logpdf(factor @ factor.T, degrees, scatter)
    return density + log_volume(lambda p: covariance_entries(p, n_features), point)


def log_density_of_precisions(covariance, values, posterior):
    """By scipy, of one draw's variances and correlations."""
    components = posterior.components
    n_components, n_features = components.means.shape
    degrees = components.degrees_of_freedom.numpy()
    expected = components.covariance.dense(n_components, n_features).numpy()
    variances = values["variances"].numpy()
    if covariance == "diagonal":
        rates = degrees[:, None] / 2 * expected.diagonal(axis1=1, axis2=2)
        return stats.invgamma.logpdf(variances, degrees[:, None] / 2, scale=rates).sum()
    if covariance == "spherical":
        shapes = n_features * degrees / 2
        return stats.invgamma.logpdf(variances, shapes, scale=shapes * expected[:, 0, 0]).sum()
    correlations = values["correlations"].numpy() if n_features > 1 else np.ones((2, 1, 1))
    if covariance == "tied":
        total = degrees.sum()
        correlations = correlations if n_features > 1 else np.ones((1, 1))
        return log_density_of_matrix(variances, correlations, total, total * expected[0])
    return sum(
        log_density_of_matrix(variances[k], correlations[k], degrees[k], degrees[k] * expected[k])
        for k in range(n_components)
    )


@pytest.mark.parametrize("n_features", [1, 3])
@pytest.mark.parametrize("covariance", STRUCTURES)
def test_densities_are_scipys(covariance, n_features):
    posterior = fit(rows(n_features), covariance).posterior
    guide = ConjugateGuide(posterior)
    values = guide.draw()
    expected = log_density_of_precisions(covariance, values, posterior)
    concentration = posterior.weights.concentration.numpy()
    expected += stats.dirichlet.logpdf(values["weights"].numpy(), concentration)
    model = BayesianGaussianMixture(2, n_features, covariance, priors=Priors()).double()
    matrices = model.mixture(values).covariance.dense(2, n_features).numpy()
    components = posterior.components
    for k, mean in enumerate(components.means.numpy()):
        spread = matrices[k] / components.mean_precision[k].item()
        expected += stats.multivariate_normal.logpdf(values["means"][k].numpy(), mean, spread)
    assert guide.log_density(values).item() == pytest.approx(expected, rel=1e-6)


def broken_stick(shares):
    left = np.concatenate([[1.0], np.cumprod(1 - shares)])
    return left[:-1] * shares


def test_weights_of_a_stick_have_its_density():
    taken, left = np.array([2.0, 0.7, 5.0]), np.array([3.0, 1.5, 0.4])
    weights = GeneralizedDirichlet(torch.from_numpy(taken), torch.from_numpy(left))
    shares = np.array([0.3, 0.6, 0.1])
    value = broken_stick(shares)
    value = torch.from_numpy(np.append(value, 1 - value.sum()))
    expected = stats.beta.logpdf(shares, taken, left).sum() - log_volume(broken_stick, shares)
    assert weights.log_prob(value).item() == pytest.approx(expected, rel=1e-7)
    concentration = np.array([2.0, 0.7, 5.0, 3.0])
    beyond = concentration[::-1].cumsum()[::-1] - concentration
    special_case = GeneralizedDirichlet(*torch.from_numpy(np.stack([concentration, beyond])[:, :3]))
    dirichlet = stats.dirichlet.logpdf(value.numpy(), concentration)
    assert special_case.log_prob(value).item() == pytest.approx(dirichlet, rel=1e-9)


@pytest.mark.parametrize("n_features", [1, 3])
@pytest.mark.parametrize("covariance", STRUCTURES)
def test_bayes_rule_holds_for_one_component(covariance, n_features):
    """Prior times likelihood over posterior is the evidence, at every draw."""
    x = rows(n_features)
    vb = fit(x, covariance, 1)
    prior, posterior = ConjugateGuide(vb.prior), vb.guide()
    values = posterior.draw((20,))
    model = BayesianGaussianMixture(1, n_features, covariance).double()
    mixture = model.mixture(values).reindex(lambda t: t.unsqueeze(1))
    joint = prior.log_density(values) + mixture.log_prob(x).sum(-1)
    evidence = joint - posterior.log_density(values)
    expected = torch.full_like(evidence, vb.lower_bound[-1].item())
    torch.testing.assert_close(evidence, expected, rtol=1e-9, atol=0)


# -- draws --------------------------------------------------------------------------------------


def assert_mean(draws, expected):
    """Within six standard errors."""
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - expected).abs() < 6 * error + 1e-12).all()


@pytest.mark.parametrize("weight_prior", ["dirichlet_process", "dirichlet_distribution"])
@pytest.mark.parametrize("covariance", STRUCTURES)
def test_draws_have_the_posteriors_moments(covariance, weight_prior):
    x = rows(3)
    start = initialize(x, 2, covariance, seed=0)
    posterior = VariationalEM(weight_prior=weight_prior).fit(x, start).posterior
    guide, components = ConjugateGuide(posterior), posterior.components
    draws = guide.draw((4000,))
    assert_mean(draws["means"], components.means)
    share = posterior.weights.mean()[0]
    if weight_prior == "dirichlet_process":
        share = posterior.weights.taken[0] / (posterior.weights.taken + posterior.weights.left)[0]
    assert_mean(draws["weights"][:, 0], share)
    model = BayesianGaussianMixture(2, 3, covariance).double()
    matrices = model.mixture(draws).covariance.dense(2, 3)
    precisions = torch.linalg.inv(components.covariance.dense(2, 3))
    assert_mean(torch.linalg.inv(matrices), precisions)
    deviations = draws["means"] - components.means
    scaled = deviations.unsqueeze(-1) * torch.linalg.solve(matrices, deviations.unsqueeze(-1))
    assert_mean(scaled.sum((-1, -2)) * components.mean_precision, torch.tensor(3.0).double())
    if covariance in ("full", "diagonal"):  # a marginal of inverse Wishart distributions
        lost = 2 if covariance == "full" else 0
        degrees = components.degrees_of_freedom
        scatter = degrees[0] * components.covariance.dense(2, 3)[0, 1, 1]
        marginal = stats.invgamma((degrees[0].item() - lost) / 2, scale=scatter.item() / 2)
        assert stats.kstest(draws["variances"][:, 0, 1].numpy(), marginal.cdf).pvalue > 1e-6


# -- what takes guides --------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_diagnostics_take_it(covariance):
    x = rows(2, dtype=torch.float32)
    vb = fit(x, covariance)
    model = BayesianGaussianMixture(2, 2, covariance, priors=Priors.from_data(x))
    idata = to_inference_data(model, vb.guide(), x, num_samples=200, seed=0)
    values = {
        name: torch.from_numpy(idata.posterior[name].values[0]) for name in model.latent_sites()
    }
    log_q = torch.from_numpy(idata.sample_stats["log_q"].values[0]).to(x)
    torch.testing.assert_close(log_q, vb.guide().log_density(values), rtol=1e-3, atol=1e-2)
    assert math.isfinite(pareto_k(idata)[0])


def test_particles_start_from_it():
    """Evidence is the prior's, whatever it starts from."""
    x = rows(1, dtype=torch.float32)
    model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
    settings = {"num_particles": 200, "seed": 0, "progress": False}
    near = sample_posterior(model, x, start=fit(x, "full").guide(), **settings)
    far = sample_posterior(model, x, **settings)
    # From the guide it is that of one of two orders.
    gap = near.log_evidence + math.log(2) - far.log_evidence
    error = math.hypot(near.log_evidence_error, far.log_evidence_error)
    assert min(abs(gap), abs(gap - math.log(2))) < 5 * error + 0.2


def test_a_close_posterior_has_a_small_k():
    """Of clusters that are well apart, with priors that say little beside the rows."""
    x = torch.cat([rows(1, 300)[75:], rows(1, 300)[75:] + 20]).float()
    priors = VariationalPriors(
        weight_concentration_prior=1.0,
        mean_precision_prior=1e-3,
        degrees_of_freedom_prior=0.5,
        covariance_prior=[[0.3]],
    )
    vb = fit(x, "full", priors=priors)
    model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
    idata = to_inference_data(model, vb.guide(), x, num_samples=1000, seed=0)
    assert pareto_k(idata)[0] < 0.7


def test_a_mixture_of_guides_refuses_it():
    x = rows(1)
    guides = [fit(x, "full").guide()] * 2
    with pytest.raises(ValueError, match="guides: expected autoguides, got ConjugateGuide"):
        MixtureGuide(BayesianGaussianMixture(2, 1), guides, torch.ones(2) / 2, (x,))


def test_a_guide_of_other_sites_is_refused():
    x = rows(2, dtype=torch.float32)
    model = BayesianGaussianMixture(3, 2, priors=Priors.from_data(x))
    with pytest.raises(ValueError, match=r"it draws weights of shape \(2,\), the model \(3,\)"):
        to_inference_data(model, fit(x, "full").guide(), x)
