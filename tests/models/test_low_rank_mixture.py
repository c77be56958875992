"""Bayesian mixtures of factor analyzers: their priors by scipy, and posteriors by numpy alone."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from scipy import stats
from torch.distributions import biject_to

from pyro_ugmm.diagnostics import to_inference_data
from pyro_ugmm.diagnostics.calibration_quantities import Quantities
from pyro_ugmm.distributions import GaussianMixture, LowRankCovariance
from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.models.loadings_prior import LoadingsPrior
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.saving import load_fitted, save_fitted
from pyro_ugmm.training import fit_svi

F64 = torch.float64


def rows(n_rows=60, n_features=4, seed=0):
    """Two clusters, in each of which all features go along with one factor."""
    generator = torch.Generator().manual_seed(seed)
    kind = {"generator": generator, "dtype": F64}
    x = torch.randn(n_rows, 1, **kind) * torch.linspace(-2, 1, n_features, dtype=F64)
    x = x + 0.5 * torch.randn(n_rows, n_features, **kind)
    return x + 8 * (torch.arange(n_rows) % 2).unsqueeze(1)


def model_for(x, n_components=2, rank=2, **options):
    priors = Priors.from_data(x, **options)
    return BayesianGaussianMixture(n_components, x.shape[1], "low_rank", priors, rank=rank)


def started(x, n_components=2, rank=2):
    start = initialize(x, n_components, "low_rank", rank=rank, seed=0)
    return EMFitter(progress=False, tol=1e-5).fit(x, start).mixture


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("concentration", [1.0, 2.5])
def test_the_prior_of_loadings(rank, concentration):
    torch.manual_seed(0)
    prior = LoadingsPrior(concentration, torch.ones(2, 5, rank, dtype=F64))
    draws = prior.sample((2000,))
    student = stats.multivariate_t(shape=np.eye(rank) / concentration, df=concentration)
    by_scipy = student.logpdf(draws.reshape(-1, rank).numpy()).reshape(2000, 2, 5)
    np.testing.assert_allclose(prior.log_prob(draws), by_scipy.sum(-1))
    shares = (squares := draws.square().sum(-1)) / (1 + squares)
    beta = stats.beta(rank / 2, concentration / 2)
    assert stats.kstest(shares.flatten().numpy(), beta.cdf).pvalue > 1e-3
    one, number = prior.element(0, 1, 0), draws[:, 0, 1, 0]
    at = torch.linspace(-4, 4, 9, dtype=F64)
    df = stats.t(concentration, scale=concentration**-0.5)
    np.testing.assert_allclose(one.log_prob(at), df.logpdf(at))
    assert stats.kstest(number.numpy(), df.cdf).pvalue > 1e-3
    assert prior.expand((3, 2)).sample().shape == (3, 2, 5, rank)
    at_zero = biject_to(prior.support)(torch.zeros(2, 5, rank, dtype=F64))
    assert torch.equal(at_zero, prior.start)


def test_variances_and_correlations_are_about_those_of_full_covariances():
    """The same prior of variances, and nearly that of correlations, if the rank is as high."""
    x, n_draws = rows(), 4000
    torch.manual_seed(0)
    low, full = model_for(x, rank=3), BayesianGaussianMixture(2, 4, priors=Priors.from_data(x))
    matrices = [
        model.mixture(model.sample_prior(n_draws)).covariance.dense(2, 4) for model in (low, full)
    ]
    variances = [m.diagonal(dim1=-2, dim2=-1) for m in matrices]
    unit = Priors.from_data(x).spread.square() / 2 ** (2 / 4)
    log_normal = stats.lognorm(1.5, scale=math.exp(-1.5))
    assert stats.kstest((variances[0] / unit).flatten().numpy(), log_normal.cdf).pvalue > 1e-3
    correlations = [
        (m[..., 0, 1] / (v[..., 0] * v[..., 1]).sqrt()).flatten()
        for m, v in zip(matrices, variances, strict=True)
    ]
    for correlation, expected in zip(correlations, (3 / 16, 1 / 5), strict=True):
        assert correlation.mean() == pytest.approx(0, abs=0.03)
        assert correlation.var() == pytest.approx(expected, rel=0.1)


def test_units_of_features_and_rotations_of_factors_leave_the_posterior_as_it_is():
    x = rows()
    torch.manual_seed(0)
    units = torch.tensor([1e-3, 1.0, 50.0, 1e4], dtype=F64)
    model, other = model_for(x), model_for(x * units)
    draws = model.sample_prior(3)
    rotation = torch.linalg.qr(torch.randn(2, 2, dtype=F64)).Q
    there = {
        "weights": draws["weights"],
        "means": draws["means"] * units,
        "variances": draws["variances"] * units.square(),
        "loadings": draws["loadings"] @ rotation,
    }
    shift = units.log().sum()
    found = other.log_likelihood(x * units, draws=there)
    torch.testing.assert_close(found, model.log_likelihood(x, draws=draws) - shift)
    # means have one factor of the units, variances two, in each of two components
    torch.testing.assert_close(other.log_prior(there), model.log_prior(draws) - 2 * 3 * shift)


def test_starts():
    x = rows()
    mixture, model = started(x), model_for(x)
    again = model.mixture(model.start_values(mixture))
    torch.testing.assert_close(again.log_prob(x), mixture.log_prob(x))
    with pyro.get_param_store().scope():
        plain = AutoNormal(model)
        plain(x)
        torch.testing.assert_close(plain.median(x)["loadings"], model.start_values()["loadings"])
    assert model.start_values()["loadings"].norm(dim=-1).min() > 0.05
    assert model.draw_start(x).covariance.rank == 2


def test_a_variance_of_zero_starts_where_gradients_are_those_of_numbers():
    factor = torch.tensor([[[1.0], [2.0], [0.1]]], dtype=F64)
    none = torch.tensor([[1e-14, 1.0, 1.0]], dtype=F64)
    zero = torch.zeros(1, 3, dtype=F64)
    mixture = GaussianMixture(torch.ones(1).double(), zero, LowRankCovariance(factor, none))
    values = model_for(rows(n_features=3), 1, 1).start_values(mixture)
    assert values["loadings"][0, 0, 0] == pytest.approx(100, rel=1e-3)


def test_against_weighted_draws_by_numpy():
    """Posterior means and the evidence, from draws of the prior, but for means near the rows."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, generator=generator, dtype=F64) + torch.randn(5, 1, generator=generator)
    rng, shape, eta = np.random.default_rng(0), (400_000, 3), 2.0
    spread, z = x.std(0).numpy(), rng.normal(size=shape, scale=0.6)
    variances = spread**2 * np.exp(-1.5 + 1.5 * rng.normal(size=shape))
    loadings = rng.normal(size=shape) / np.sqrt(rng.chisquare(eta, size=shape))
    noise = variances / (1 + loadings**2)
    factor = np.sqrt(noise) * loadings
    sigma = factor[:, :, None] * factor[:, None] + noise[:, :, None] * np.eye(3)
    gap = (x - x.mean(0)).numpy() - spread * z[:, None]
    terms = -0.5 * np.einsum("sni,sij,snj->s", gap, np.linalg.inv(sigma), gap)
    terms -= 2.5 * np.linalg.slogdet(2 * np.pi * sigma)[1]
    terms += (stats.norm(0, 2).logpdf(z) - stats.norm(0, 0.6).logpdf(z)).sum(1)
    weight = np.exp(terms - terms.max())
    evidence = terms.max() + np.log(weight.mean())
    weight /= weight.sum()
    assert 1 / np.square(weight).sum() > 2000
    model = model_for(x, 1, 1, correlations=eta)
    sample = sample_posterior(model, x, num_particles=512, seed=0, progress=False)
    assert sample.log_evidence == pytest.approx(evidence, abs=0.5)
    found = model.mixture(sample.draws).covariance.dense(1, 3)[:, 0]
    for statistic in (np.log, np.sqrt):  # of variances, whose own mean is far out
        expected = weight @ statistic(variances)
        ours = statistic(found.diagonal(dim1=-2, dim2=-1).numpy()).mean(0)
        np.testing.assert_allclose(ours, expected, atol=0.1)
    scale = found.diagonal(dim1=-2, dim2=-1).sqrt()
    ours = (found / scale.unsqueeze(-1) / scale.unsqueeze(-2)).mean(0)
    expected = np.sqrt(variances)[:, :, None] * np.sqrt(variances)[:, None]
    np.testing.assert_allclose(ours, np.einsum("s,sij->ij", weight, sigma / expected), atol=0.06)


def test_the_ways_to_a_posterior(tmp_path):
    x = rows()
    model = model_for(x)
    guide = mean_field(model, start=started(x), x=x)
    result = fit_svi(model, guide, x, steps=30, seed=0, progress=False)
    assert result.losses.isfinite().all()
    idata = to_inference_data(model, guide, x, num_samples=20, seed=0)
    dims = ("chain", "draw", "component", "feature", "common_factor")
    assert idata.posterior["loadings"].dims == dims
    save_fitted(tmp_path / "fitted", model, guide)
    again, its_guide = load_fitted(tmp_path / "fitted")
    assert repr(again) == repr(model) and "'low_rank', rank=2, priors=" in repr(model)
    found = to_inference_data(again, its_guide, x, num_samples=20, seed=0).posterior
    np.testing.assert_array_equal(found["loadings"], idata.posterior["loadings"])


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_rows_of_the_prior_predictive_are_numbers(dtype):
    torch.manual_seed(0)
    x = rows().to(dtype)
    model = model_for(x, rank=4)
    assert model(size=4).dtype == dtype
    mixtures = model.mixture(model.sample_prior(4000))
    assert mixtures.sample().isfinite().all()
    assert mixtures.log_prob(x[0]).isfinite().all()


def test_entries_that_are_missing_and_sites_that_are_learned():
    x = rows(12)
    x[0, 1] = math.nan
    priors = Priors.from_data(x, correlations=None)
    options = {"rank": 1, "missing": "marginalize"}
    model = BayesianGaussianMixture(2, 4, "low_rank", priors, **options)
    assert "loadings" not in model.site_distributions()
    assert model.learned.loadings.shape == (2, 4, 1)
    draws = model.sample_prior(3)
    expected = model.mixture(draws).marginal([0, 2, 3]).log_prob(x[0, [0, 2, 3]])
    torch.testing.assert_close(model.log_likelihood(x, draws=draws)[:, 0], expected)
    mixture = started(x[1:], rank=1)
    model.take_start(mixture)
    scale = mixture.covariance.tensors()["variances"].sqrt().unsqueeze(-1)
    found = model.learned.loadings * scale
    torch.testing.assert_close(found, mixture.covariance.tensors()["factor"], rtol=0.01, atol=1e-6)


def test_calibration_looks_at_what_rotations_leave_as_it_is():
    x = rows(6)
    model = model_for(x, 1)
    found = Quantities(model, (x,)).evaluate((x,), model.sample_prior(3), x, None)
    sites = {name.split("[")[0] for name in found}
    assert sites == {"log_prior", "log_likelihood", "means", "variances"}


def test_one_feature_has_no_loadings():
    model = BayesianGaussianMixture(2, 1, "low_rank", rank=1)
    assert [*model.site_distributions()] == ["weights", "means", "variances"]
    draws = model.sample_prior(5)
    dense = model.mixture(draws).covariance.dense(2, 1)
    torch.testing.assert_close(dense[..., 0], draws["variances"])


X = rows(10)


def made(*args, **options):
    return lambda: BayesianGaussianMixture(2, 4, *args, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (made("low_rank"), "rank: expected a positive integer, got None"),
        (made("low_rank", rank=0), "rank: expected a positive integer, got 0"),
        (made("low_rank", rank=5), "rank: expected at most 4, as there are features, got 5"),
        (made("full", rank=2), "rank: expected None, as 'full' covariances have none, got 2"),
        (
            lambda: mean_field(model_for(X, rank=1), start=started(X, rank=2)),
            r"start: expected n_components, n_features, covariance, rank = "
            r"\(2, 4, 'low_rank', 1\), got \(2, 4, 'low_rank', 2\)",
        ),
        (
            lambda: mean_field(model_for(X), start=initialize(X, 2)),
            r"start: expected .*'low_rank', 2\), got \(2, 4, 'full', None\)",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_distribution_of_loadings_shows_itself():
    prior = LoadingsPrior(1.0, torch.ones(2, 5, 1))
    assert repr(prior) == "LoadingsPrior(1, shape=(2, 5, 1))"
    assert isinstance(prior.element(0, 0, 0), dist.StudentT)
