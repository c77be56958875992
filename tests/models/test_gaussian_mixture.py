import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import (
    AutoDelta,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)
from scipy.stats import multivariate_t
from torch.distributions import MultivariateNormal

from pyro_ugmm.distributions import FullCovariance, GaussianMixture, TiedCovariance
from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.guides import full_rank, low_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_mle, fit_svi
from tests.models.mixtures import NOTHING, mixture, rank_in, rows

STRUCTURES = ("full", "tied", "diagonal", "spherical", "low_rank")


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_sites_and_shapes(covariance):
    trace = poutine.trace(mixture(covariance, 3)).get_trace(rows())
    shapes = {
        name: tuple(site["value"].shape)
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and name != "data"
    }
    expected = {"weights": (3,), "means": (3, 2), "x": (120, 2)}
    expected["variances"] = {"tied": (2,), "spherical": (3,)}.get(covariance, (3, 2))
    if covariance in ("full", "tied"):
        expected["correlations"] = (3, 2, 2) if covariance == "full" else (2, 2)
    if covariance == "low_rank":
        expected["loadings"] = (3, 2, 1)
    assert shapes == expected
    assert not [name for name, site in trace.nodes.items() if site["type"] == "param"]


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_joint_density_by_hand(covariance):
    model, x = mixture(covariance, 3, weights=2.0, correlations=1.5), rows()
    trace = poutine.trace(model).get_trace(x)
    value = {name: site["value"] for name, site in trace.nodes.items() if "value" in site}
    center, spread = x.mean(0), x.std(0)
    expected = dist.Normal(center, 2 * spread).log_prob(value["means"]).sum()
    unit = spread.square().mean() if covariance == "spherical" else spread.square()
    unit = (unit / 3).expand(value["variances"].shape)  # K^(2/D) = 3
    log_normal = dist.LogNormal(torch.tensor(-1.5), torch.tensor(1.5))
    expected += (log_normal.log_prob(value["variances"] / unit) - unit.log()).sum()
    expected += dist.Dirichlet(torch.full((3,), 2.0).double()).log_prob(value["weights"])
    correlation = torch.eye(2).double()
    if "correlations" in value:
        lkj = dist.LKJCholesky(2, torch.tensor(1.5).double())
        expected += lkj.log_prob(value["correlations"]).sum()
        correlation = value["correlations"] @ value["correlations"].mT
    if "loadings" in value:
        student = multivariate_t(shape=1 / 1.5, df=1.5)  # of which the scale is squared
        expected += student.logpdf(value["loadings"].numpy()).sum()
        scaled = torch.eye(2) + value["loadings"] @ value["loadings"].mT
        deviation = scaled.diagonal(dim1=-2, dim2=-1).rsqrt().unsqueeze(-1)
        correlation = deviation * scaled * deviation.mT
    scale = value["variances"].sqrt()
    scale = scale.unsqueeze(-1).expand(3, 2) if covariance == "spherical" else scale.expand(3, 2)
    matrices = scale.unsqueeze(-1) * correlation * scale.unsqueeze(-2)
    densities = MultivariateNormal(value["means"], matrices).log_prob(x.unsqueeze(1))
    expected += (value["weights"].log() + densities).logsumexp(-1).sum()
    torch.testing.assert_close(trace.log_prob_sum(), expected)


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_log_prior_and_log_likelihood_of_many_draws(covariance):
    model, x = mixture(covariance), rows(30)
    draws = {site: p.sample((5, 1)) for site, p in model.site_distributions().items()}
    log_likelihood = model.log_likelihood(x, draws=draws)
    log_prior = model.log_prior(draws)
    assert log_likelihood.shape == (5, 30) and log_prior.shape == (5,)
    for s in range(5):
        one = {site: value[s, 0] for site, value in draws.items()}
        trace = poutine.trace(poutine.condition(model, one)).get_trace(x)
        torch.testing.assert_close(log_prior[s] + log_likelihood[s].sum(), trace.log_prob_sum())
    # As many draws as rows, without a dimension for the rows: still each draw with each row.
    flat = {site: value.squeeze(1) for site, value in draws.items()}
    torch.testing.assert_close(model.log_likelihood(x[:5], draws=flat), log_likelihood[:, :5])
    assert torch.equal(model.log_prior(flat), log_prior)


def test_draws_that_do_not_fit_are_refused():
    model, x = mixture("diagonal"), rows(30)
    draws = {site: p.sample((5, 2)) for site, p in model.site_distributions().items()}
    for call in (lambda: model.log_likelihood(x, draws=draws), lambda: model.log_prior(draws)):
        with pytest.raises(ValueError, match=r"draws: expected weights of shape \(2,\), or of dra"):
            call()
    with pytest.raises(ValueError, match=r"draws: expected values of .*, got \['means'\]"):
        model.log_prior({"means": torch.zeros(2, 2).double()})


@pytest.mark.parametrize("site", ["weights", "variances"])
def test_draws_outside_their_supports_are_refused(site):
    model, x = mixture("diagonal"), rows(30)
    draws = model.sample_prior(5)
    draws[site] = -draws[site]
    with pytest.raises(
        ValueError, match=rf"draws: expected values of {site} within .*, got 5 of 5"
    ):
        model.log_likelihood(x, draws=draws)


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_gradients_through_the_sites(covariance):
    model, x = mixture(covariance), rows(10)
    draws = {site: p.sample() for site, p in model.site_distributions().items()}

    def likelihood(*values):  # unchecked, as small differences leave a simplex
        return model.row_terms(x, draws=dict(zip(draws, values, strict=True)))

    values = [value.clone().requires_grad_() for value in draws.values()]
    # A Cholesky factor's upper triangle is zero, and stays so.
    at = list(draws).index("correlations") if "correlations" in draws else None

    def lower(*values):
        return likelihood(*(v.tril() if i == at else v for i, v in enumerate(values)))

    assert torch.autograd.gradcheck(lower, values)


def test_minibatches_scale_the_likelihood_only():
    model, x = mixture("diagonal"), rows(40)
    draw = {site: prior.sample() for site, prior in model.site_distributions().items()}
    conditioned = poutine.condition(model, data=draw)

    def terms(*args, **kwargs):
        trace = poutine.trace(conditioned).get_trace(*args, **kwargs)
        likelihood = trace.log_prob_sum(lambda name, site: name == "x")
        return likelihood, trace.log_prob_sum() - likelihood

    full_likelihood, full_prior = terms(x)
    halves = [terms(x[at], size=40) for at in (slice(0, 20), slice(20, 40))]
    torch.testing.assert_close(sum(half[0] for half in halves) / 2, full_likelihood)
    for half in halves:
        torch.testing.assert_close(half[1], full_prior)


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_vectorized_particles_and_parallel_predictive(covariance):
    model, x = mixture(covariance), rows()
    guide = mean_field(model, init_scale=0.01)
    with torch.no_grad():
        loop = Trace_ELBO(num_particles=100).loss(model, guide, x)
        together = Trace_ELBO(
            num_particles=100, vectorize_particles=True, max_plate_nesting=1
        ).loss(model, guide, x)
    assert together == pytest.approx(loop, rel=0.02)
    parallel = Predictive(model, guide=guide, num_samples=200, parallel=True)(size=50)["x"]
    serial = Predictive(model, guide=guide, num_samples=200)(size=50)["x"]
    assert parallel.reshape(200, 50, 2).shape == serial.shape
    error = serial.std() / math.sqrt(200 * 50)
    assert (parallel.reshape(-1, 2).mean(0) - serial.reshape(-1, 2).mean(0)).abs().max() < 6 * error


@pytest.mark.parametrize(
    "guide_class",
    [AutoNormal, AutoMultivariateNormal, AutoLowRankMultivariateNormal, AutoDelta],
)
def test_pyros_autoguides_learn_under_pyros_own_svi(guide_class):
    """Unchanged, from Pyro's own default start, which leaves most mixtures' components alike."""
    x = rows()
    with pyro.get_param_store().scope():
        pyro.set_rng_seed(0)
        model = mixture("diagonal")
        guide = guide_class(model)
        svi = SVI(model, guide, pyro.optim.ClippedAdam({"lr": 0.05}), Trace_ELBO())
        losses = [svi.step(x) for _ in range(400)]
        assert sum(losses[-20:]) < 0.9 * sum(losses[:20])
        means = guide.median(x)["means"]
    assert means[:, 0].max() == pytest.approx(16, abs=1)
    assert means[:, 0].min() == pytest.approx(10, abs=1)


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal", "spherical"])
def test_maximum_likelihood_reaches_what_em_reaches(covariance):
    x = rows()
    em = EMFitter(tol=1e-10, max_iter=500, reg_covar=0.0, progress=False).fit(
        x, initialize(x, 2, covariance, rank=rank_in(covariance), seed=0)
    )
    models = [mixture(covariance, seed=seed, **NOTHING) for seed in range(3)]
    results = [fit_mle(m, x, steps=1000, learning_rate=0.05, progress=False) for m in models]
    losses = torch.stack([result.losses[-1] for result in results])
    assert losses.min().item() == pytest.approx(-120 * em.log_likelihood, abs=0.05)
    found = models[losses.argmin()].mixture().means.detach()
    torch.testing.assert_close(
        found[found[:, 0].argsort()],
        em.mixture.means[em.mixture.means[:, 0].argsort()],
        atol=0.05,
        rtol=0,
    )


@pytest.mark.parametrize("make", [mean_field, low_rank, full_rank])
@pytest.mark.parametrize("covariance", STRUCTURES)
def test_guides_start_at_an_em_solution_as_wide_as_its_curvature(make, covariance):
    x = rows()
    em = EMFitter(progress=False).fit(
        x, initialize(x, 2, covariance, rank=rank_in(covariance), seed=0)
    )
    model = mixture(covariance)
    guide = make(model, start=em.mixture, x=x)
    torch.testing.assert_close(guide.median(x)["means"], em.mixture.means)
    torch.testing.assert_close(guide.median(x)["weights"], em.mixture.weights)
    # the standard error of a component's mean, from its own rows
    low, high = guide.quantiles([0.158655, 0.841345], x)["means"]
    expected = (em.mixture.covariance.dense(2, 2).diagonal(dim1=-2, dim2=-1)).sqrt()
    expected = expected / (120 * em.mixture.weights).sqrt().unsqueeze(-1)
    torch.testing.assert_close((high - low) / 2, expected, rtol=0.3, atol=0)


def test_a_start_reaches_what_has_no_prior():
    x = rows()
    em = EMFitter(progress=False).fit(x, initialize(x, n_components=2, seed=0))
    model = mixture(**NOTHING | {"correlations": 1.0})
    mean_field(model, start=em.mixture)
    for name, found in (("means", em.mixture.means), ("weights", em.mixture.weights)):
        torch.testing.assert_close(getattr(model.learned, name), found)
    variances = em.mixture.covariance.values.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(model.learned.variances, variances)
    known = mixture(**NOTHING | {"correlations": 1.0})
    known.learned.requires_grad_(False)
    before = known.learned.means.clone()
    mean_field(known, start=em.mixture)
    assert torch.equal(known.learned.means, before)


def test_predictive_draws_a_row_unless_told_otherwise():
    assert Predictive(mixture(), num_samples=3)()["x"].shape == (3, 1, 2)


def test_the_conjugate_posterior_of_a_mean():
    """One component of known variance: the posterior of its mean is normal, in closed form."""
    x = torch.randn(50, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 3
    priors = Priors.from_data(x, variances=None)
    model = BayesianGaussianMixture(1, 1, priors=priors)
    model.learned.variances = torch.tensor([[1.7]], dtype=torch.float64)
    model.learned.requires_grad_(False)
    precision = 1 / (2 * priors.spread) ** 2 + 50 / 1.7
    mean = (priors.center / (2 * priors.spread) ** 2 + x.sum(0) / 1.7) / precision
    guide = full_rank(model)
    fit_svi(model, guide, x, steps=2000, num_particles=100, seed=0, progress=False)
    found = guide.median(x)["means"][0, 0].item()
    low, high = guide.quantiles([0.158655, 0.841345], x)["means"].flatten().tolist()
    deviation = precision.rsqrt().item()
    assert found == pytest.approx(mean.item(), abs=0.1 * deviation)
    assert (high - low) / 2 == pytest.approx(deviation, rel=0.03)
    mcmc = MCMC(NUTS(model), num_samples=600, warmup_steps=200, disable_progbar=True)
    pyro.set_rng_seed(0)
    mcmc.run(x)
    draws = mcmc.get_samples()["means"].flatten()
    error = math.sqrt(1 / precision.item() / 150)  # as if a quarter of the draws were independent
    assert draws.mean().item() == pytest.approx(mean.item(), abs=4 * error)
    assert draws.var().item() == pytest.approx(1 / precision.item(), rel=0.35)


def test_missing_entries_are_integrated_out():
    x = rows(20)
    x[3, 0] = math.nan
    model = BayesianGaussianMixture(
        2, 2, "diagonal", Priors.from_data(rows()), missing="marginalize"
    )
    draws = {site: prior.sample() for site, prior in model.site_distributions().items()}
    expected = model.mixture(draws).marginal([1]).log_prob(x[3, 1:])
    torch.testing.assert_close(model.log_likelihood(x, draws=draws)[3], expected)
    guide = mean_field(model)
    result = fit_svi(model, guide, x, steps=20, seed=0, progress=False)
    assert result.losses.isfinite().all()


def test_one_component_has_no_weights():
    model = BayesianGaussianMixture(1, 2, "tied", Priors.from_data(rows()))
    assert list(model.site_distributions()) == ["means", "variances", "correlations"]
    assert model(size=4).shape == (4, 2)


def test_a_covariance_of_factors_is_that_of_matrices():
    factor = torch.randn(3, 2, 2, dtype=torch.float64).tril()
    factor.diagonal(dim1=-2, dim2=-1).abs_().add_(0.1)
    x = torch.randn(7, 2, dtype=torch.float64)
    weights, means = torch.full((3,), 1 / 3).double(), torch.randn(3, 2, dtype=torch.float64)
    for kind, given in ((FullCovariance, factor), (TiedCovariance, factor[0])):
        given = given.clone().requires_grad_()
        by_factor = GaussianMixture(weights, means, kind.from_factor(given)).log_prob(x)
        by_matrix = GaussianMixture(weights, means, kind(given @ given.mT)).log_prob(x)
        torch.testing.assert_close(by_factor, by_matrix)
        gradients = [torch.autograd.grad(t.sum(), given)[0].tril() for t in (by_factor, by_matrix)]
        torch.testing.assert_close(*gradients)


def test_on_the_device_it_is_given(device):
    x = rows(dtype=torch.float32).to(device)
    model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(x))
    trace = poutine.trace(model).get_trace(x)
    assert trace.log_prob_sum().device.type == device.type
    assert fit_svi(model, mean_field(model), x, steps=3, progress=False).losses.isfinite().all()


X = rows()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BayesianGaussianMixture(0, 2), "n_components: expected a positive integer"),
        (
            lambda: BayesianGaussianMixture(2, 2, "diag"),
            "covariance: expected one of 'full'.*'diag'",
        ),
        (lambda: BayesianGaussianMixture(torch.ones(9, 9), 2), "positive integer, got Tensor$"),
        (lambda: BayesianGaussianMixture(2, 2, "round"), "covariance: expected one of .*'full'"),
        (lambda: BayesianGaussianMixture(2, 2, missing="drop"), "missing: expected"),
        (lambda: BayesianGaussianMixture(2, 2, priors=3), "priors: expected Priors, got int"),
        (
            lambda: BayesianGaussianMixture(2, 3, priors=Priors.from_data(X)),
            r"priors\.center: expected shape \(3,\)",
        ),
        (lambda: mixture()(size=0), "size: expected a positive integer, got 0"),
        (lambda: mean_field(UGMMNetwork([2, 2])), "model: expected a Pyro model, such as"),
        (lambda: mixture()(X[:, :1]), r"x: expected shape \(n, 2\) with at least one row"),
        (lambda: mixture()(X[:0]), r"x: expected shape \(n, 2\) with at least one row"),
        (
            lambda: mixture()(X.float()),
            "x: expected torch.float64, as the model has, got torch.float32",
        ),
        (lambda: mixture()(X * math.nan), "x: expected finite values .missing='marginalize'"),
        (lambda: mixture()(X, size=7), "size: expected an integer of at least 120, got 7"),
        (lambda: mixture().mixture({"weights": X}), "draws: expected a value of"),
        (lambda: mixture().mixture({"loc": X}), "draws: expected sites among"),
        (lambda: mean_field(mixture(), start=X), "start: expected a GaussianMixture.*got Tensor"),
        (
            lambda: mean_field(mixture(), start=mixture("tied", **NOTHING).mixture()),
            "start: expected n_components, n_features, covariance = ",
        ),
        (lambda: mean_field(mixture(**NOTHING)), "model: expected a model with priors"),
        (lambda: mean_field(mixture(), init_scale=0.0), "init_scale: expected a positive number"),
        (lambda: low_rank(mixture(), rank=0), "rank: expected a positive integer"),
        (lambda: mean_field(mixture(), x=X[:, :1]), r"x: expected shape \(n, 2\)"),
        (lambda: fit_svi(mixture(), mean_field(mixture()), X, X), "y: expected nothing"),
        (lambda: fit_mle(mixture(), X), "model: expected a model without priors"),
        (lambda: mixture(["full"]), r"covariance: expected one of 'full', .*, got \['full'\]"),
        (lambda: mixture().mixture(3), "draws: expected tensors by site, or None, got int"),
        (lambda: mixture().log_prior(3), "draws: expected tensors by site, or None, got int"),
        (
            lambda: mixture().log_likelihood(X, draws={"means": 0.0}),
            "draws: expected a tensor of the site means, got float",
        ),
        (
            lambda: fit_svi(mixture(), AutoNormal, X),
            "guide: expected a Pyro guide, got the class AutoNormal",
        ),
        (
            lambda: fit_svi(mixture(), mean_field(mixture()), X, progress="no"),
            "progress: expected True or False, got 'no'",
        ),
        (
            lambda: mixture()(torch.nested.nested_tensor([X[0], X[0]])),
            "x: expected a dense tensor, got a nested one",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("entry", [mean_field, lambda model: model(size=3), lambda m: m.mixture()])
def test_half_precision_is_refused_in_words(half, entry):
    with pytest.raises(ValueError, match=r"model: expected torch\.float32 or torch\.float64"):
        entry(mixture().to(half))


@pytest.mark.parametrize("covariance", ["full", "tied"])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_nuts_goes_on_where_a_step_leaves_all_numbers(covariance, scale):
    """While it looks for a step size it tries some that are far too large."""
    x = rows().float() * scale
    torch.manual_seed(1)
    model = BayesianGaussianMixture(2, 2, covariance).float()
    for seed in range(3):
        pyro.set_rng_seed(seed)
        mcmc = MCMC(NUTS(model), num_samples=2, warmup_steps=2, disable_progbar=True)
        mcmc.run(x)
        assert all(value.isfinite().all() for value in mcmc.get_samples().values())
