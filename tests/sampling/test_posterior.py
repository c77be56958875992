"""Posteriors of whole models: against closed forms, quadrature and one another."""

import math
import warnings
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoLaplaceApproximation

from pyro_ugmm.diagnostics import class_probabilities, loo, relabel, to_inference_data
from pyro_ugmm.distributions import FullCovariance, GaussianMixture
from pyro_ugmm.guides import full_rank, low_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.sampling import sample_posterior, smc
from pyro_ugmm.sampling.agreement import nested_r_hat
from pyro_ugmm.sampling.path import Path
from pyro_ugmm.sampling.smc import Rung, State
from pyro_ugmm.sampling.target import Target
from pyro_ugmm.sampling.verdict import verdict
from pyro_ugmm.saving import load_fitted, save_fitted
from pyro_ugmm.status import Status
from pyro_ugmm.training import fit_svi
from tests.diagnostics.arviz_words import TOTAL
from tests.models.networks import data

from .lines import X, Y, exact_regression, regression

QUIET = {"progress": False, "seed": 0}


def lines(sample):
    return torch.stack([sample.draws["slope"], sample.draws["intercept"]], -1).double()


@pytest.mark.parametrize("make", [None, mean_field, low_rank, full_rank])
def test_a_line_from_the_prior_and_from_guides(make):
    mean, covariance, evidence = exact_regression()
    mode = {"slope": mean[0], "intercept": mean[1]}
    start = None if make is None else make(regression, start=mode, x=X, y=Y)
    sample = sample_posterior(regression, X, Y, start=start, num_particles=1024, **QUIET)
    assert sample.converged, sample.reason
    found, deviation = lines(sample), covariance.diagonal().sqrt()
    assert ((found.mean(0) - mean) / deviation).abs().max() < 0.25
    assert (found.std(0) / deviation).log().abs().max() < 0.2
    assert float(torch.corrcoef(found.T)[0, 1]) == pytest.approx(
        float(covariance[0, 1] / deviation.prod()), abs=0.15
    )
    assert sample.log_evidence == pytest.approx(evidence, abs=0.4)
    if make is full_rank:  # Laplace's approximation is exact here
        assert len(sample.rungs) == 1


def test_a_guide_that_is_a_function():
    mean, covariance, evidence = exact_regression()

    def guide(x, y=None):
        pyro.sample("slope", dist.Normal(0.5, 0.5))
        pyro.sample("intercept", dist.Normal(-0.3, 0.5))

    sample = sample_posterior(regression, X, Y, start=guide, num_particles=512, **QUIET)
    assert sample.log_evidence == pytest.approx(evidence, abs=0.4)
    assert ((lines(sample).mean(0) - mean) / covariance.diagonal().sqrt()).abs().max() < 0.35


def test_the_evidence_of_a_mixture_by_quadrature():
    """Two means in one dimension, all else known: a grid knows the posterior and the evidence."""
    x = torch.tensor([-2.1, -1.7, -2.4, 1.9, 2.2, 2.6, 1.5], dtype=torch.float64)

    def model(x):
        means = pyro.sample("means", dist.Normal(torch.zeros(2).to(x), 3.0).to_event(1))
        with pyro.plate("data", len(x)):
            mixing = dist.Categorical(torch.tensor([0.4, 0.6]).to(x))
            parts = dist.Normal(means, torch.ones(2).to(x))
            pyro.sample("x", dist.MixtureSameFamily(mixing, parts), obs=x)

    grid = torch.linspace(-8, 8, 801, dtype=torch.float64)
    a, b = torch.meshgrid(grid, grid, indexing="ij")
    normal = torch.distributions.Normal
    terms = torch.stack(
        [math.log(w) + normal(m, 1.0).log_prob(x[:, None, None]) for w, m in ((0.4, a), (0.6, b))]
    )
    prior = normal(0.0, 3.0)
    joint = terms.logsumexp(0).sum(0) + prior.log_prob(a) + prior.log_prob(b)
    evidence = float(joint.logsumexp((0, 1))) + 2 * math.log(0.02)
    shares = (joint - joint.logsumexp((0, 1))).exp()
    first_is_left = float(shares[a < b].sum())
    sample = sample_posterior(model, x, num_particles=2048, num_populations=8, **QUIET)
    assert sample.log_evidence == pytest.approx(
        evidence, abs=max(5 * sample.log_evidence_error, 0.1)
    )
    means = sample.draws["means"]
    found = float((means[:, 0] < means[:, 1]).double().mean())
    assert found == pytest.approx(first_is_left, abs=0.1)


def mixture(**options):
    x = torch.cat([torch.randn(40, 2) - 3, torch.randn(40, 2) + 3]).double()
    model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(x), **options).double()
    return model, x


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_mixture_for_arviz(covariance):
    model, x = mixture(covariance=covariance)
    sample = sample_posterior(model, x, num_particles=64, draws_per_particle=3, **QUIET)
    assert sample.draws["means"].shape == (192, 2, 2)
    assert sample.draws["means"].dtype == torch.float64
    idata = to_inference_data(model, sample, x, num_samples=50, seed=0)
    assert idata.posterior.sizes["chain"] == 4 and idata.posterior.sizes["draw"] == 48
    attributes = idata.posterior.attrs
    assert attributes["log_evidence"] == sample.log_evidence
    assert attributes["verdict"] == sample.reason
    centers = relabel(idata).posterior["means"].mean(("chain", "draw")).values
    assert sorted(centers[:, 0].round()) == pytest.approx([-3, 3], abs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert math.isfinite(loo(idata)[TOTAL])


def test_three_components_are_relabeled(tmp_path):
    """Populations mix the orders of components; each draw is brought into the same one."""
    at = torch.tensor([-10.0, 0.0, 10.0])
    x = (at + torch.randn(12, 3, generator=torch.Generator().manual_seed(0))).reshape(-1, 1)
    priors = Priors(means=dist.Normal(0.0, 10.0), weights=None, variances=None)
    model = BayesianGaussianMixture(3, 1, priors=priors)
    sample = sample_posterior(model, x, num_particles=64, most_moves=8, **QUIET)
    save_fitted(tmp_path / "sample.safetensors", model, sample)
    again, found = load_fitted(tmp_path / "sample.safetensors")
    idata = to_inference_data(again, found, x, num_samples=5, seed=0)
    mixed = idata.posterior["means"].std(("chain", "draw")).values
    assert (mixed > 3).any()
    posterior = relabel(idata, reference=at.unsqueeze(-1)).posterior
    assert posterior.attrs["relabeled"] == "all components are told apart"
    assert (posterior["means"].std(("chain", "draw")).values < 1).all()
    centers = posterior["means"].mean(("chain", "draw")).values[:, 0]
    assert centers == pytest.approx(at.tolist(), abs=1)


def test_a_network():
    x, y = data(60)
    torch.manual_seed(0)
    model = UGMMClassifier(UGMMNetwork([2, 3]), Priors(weights=1.0))
    sample = sample_posterior(model, x, y, num_particles=64, most_moves=8, **QUIET)
    probabilities = class_probabilities(model, sample, x).mean(0)
    assert probabilities.shape == (60, 3)
    assert (probabilities.argmax(-1) == y).double().mean() > 0.9
    assert sample.held == ()
    assert math.isfinite(sample.log_evidence) and sample.log_evidence_error > 0


def test_what_has_no_prior_is_held_and_named():
    x, y = data(30)
    model = UGMMClassifier(UGMMNetwork([2, 3]), Priors(variances=None))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sample = sample_posterior(model, x, y, num_particles=16, most_moves=2, **QUIET)
    held = {"network.layers.0.logits", "network.layers.0.scale_unconstrained"}
    assert set(sample.held) == held
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_seed_is_all_the_chance_and_generators_are_left_alone():
    first, second, third = (
        sample_posterior(regression, X, Y, num_particles=32, progress=False, seed=seed)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.draws["slope"], second.draws["slope"])
    assert not torch.equal(first.draws["slope"], third.draws["slope"])
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    sample_posterior(regression, X, Y, num_particles=32, **QUIET)
    assert torch.equal(torch.rand(1), expected)
    assert not pyro.get_param_store().keys()


def test_an_interruption_returns_what_there_is(monkeypatch):
    step, n_steps = smc.step, 0

    def interrupted(*args, **options):
        nonlocal n_steps
        n_steps += 1
        if n_steps == 3:
            raise KeyboardInterrupt
        return step(*args, **options)

    monkeypatch.setattr(smc, "step", interrupted)
    sample = sample_posterior(regression, X, Y, num_particles=64, **QUIET)
    assert sample.status is Status.INTERRUPTED and sample.interrupted and not sample.converged
    assert sample.num_draws == 64 and len(sample.rungs) == 2
    assert sample.rungs[-1].temperature < 1
    assert "short of the posterior" in sample.reason


def test_populations_that_disagree_are_no_success():
    """Modes so far apart that few particles of a population find them in their shares."""

    def model(x):
        at = pyro.sample("at", dist.Normal(torch.zeros(20), 10.0).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample(
                "y", dist.Normal(at.square().sum().sqrt() * 0 + at.abs().sum(), 0.01), obs=x
            )

    sample = sample_posterior(model, torch.full((3,), 3.0), num_particles=8, most_moves=2, **QUIET)
    assert sample.status is not Status.CONVERGED
    assert "raise num_particles" in sample.reason


def test_a_likelihood_that_is_nowhere_is_a_breakdown():
    def model(x):
        at = pyro.sample("at", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(at * math.nan, 1.0, validate_args=False), obs=x)

    sample = sample_posterior(model, X, num_particles=16, **QUIET)
    assert sample.status is Status.BROKEN_DOWN
    assert "likelihood" in sample.reason and "priors" in sample.reason


def test_one_population_cannot_be_compared():
    sample = sample_posterior(regression, X, Y, num_particles=64, num_populations=1, **QUIET)
    assert sample.status is Status.LIMIT_REACHED and "num_populations" in sample.reason
    assert math.isnan(sample.log_evidence_error)


def other_guide(x, y=None):
    pyro.sample("slope", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    pyro.sample("intercept", dist.Normal(0.0, 1.0))


def point(x, y=None):
    pyro.sample("slope", dist.Delta(torch.tensor(0.0)))
    pyro.sample("intercept", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_particles": 10}, "num_particles: expected a multiple of num_populations=4"),
        ({"num_particles": 4}, "num_particles: expected"),
        ({"num_particles": 0}, "num_particles: expected"),
        ({"num_populations": 0}, "num_populations: expected"),
        ({"num_populations": 1.5}, "num_populations: expected"),
        ({"most_moves": 1}, "most_moves: expected"),
        ({"draws_per_particle": 0}, "draws_per_particle: expected"),
        ({"seed": -1}, "seed: expected"),
        ({"seed": "a"}, "seed: expected"),
        ({"progress": 1}, "progress: expected"),
        ({"start": 3}, "start: expected a fitted guide, or None"),
        ({"start": lambda x, y=None: None}, "start: .* does not draw the site 'slope'"),
        ({"start": other_guide}, "start: .* it draws slope of shape"),
        ({"start": point}, "start: expected a guide with a density"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        sample_posterior(regression, X, Y, **{"progress": False, **options})


def test_models_that_cannot_be_sampled():
    x, y = data(20)
    with pytest.raises(ValueError, match="model: expected a model with priors"):
        sample_posterior(UGMMClassifier(UGMMNetwork([2, 3])), x, y, progress=False)
    with pytest.raises(ValueError, match="y: expected"):
        sample_posterior(UGMMClassifier(UGMMNetwork([2, 3]), Priors()), x, progress=False)
    with pytest.raises(ValueError, match="model: expected"):
        sample_posterior(UGMMNetwork([2, 3]), x, y, progress=False)
    score = UGMMDensity(UGMMNetwork([3, 1]), 3, Priors(), objective="score")
    with pytest.raises(ValueError, match="model: expected one with a likelihood"):
        sample_posterior(score, x, y, progress=False)


def test_a_sample_of_another_model_is_refused():
    sample = sample_posterior(regression, X, Y, num_particles=16, **QUIET)
    model, x = mixture()
    with pytest.raises(ValueError, match="inference: expected draws of the site 'weights'"):
        to_inference_data(model, sample, x)


def test_a_fitted_guide_is_near(device):
    x, y = (part.to(device) for part in data(60))
    torch.manual_seed(0)
    model = UGMMClassifier(UGMMNetwork([2, 3]), Priors()).to(device)
    guide = mean_field(model)
    fit_svi(model, guide, x, y, steps=200, **QUIET)
    near = sample_posterior(model, x, y, start=guide, num_particles=64, most_moves=4, **QUIET)
    far = sample_posterior(model, x, y, num_particles=64, most_moves=4, **QUIET)
    assert len(near.rungs) < len(far.rungs)
    assert near.draws["layers.0.loc"].device == x.device


def test_a_point_or_a_guide_of_more_values_is_refused():
    laplace = AutoLaplaceApproximation(regression)
    laplace(X, Y)
    with pytest.raises(ValueError, match=r"start: expected a guide with a density .* is a point"):
        sample_posterior(regression, X, Y, start=laplace, progress=False)
    pyro.clear_param_store()  # where Pyro's own guides leave theirs


def test_particles_that_never_move_do_not_agree():
    """Nor do values that are no numbers."""
    rung = Rung(1.0, 0.5, n_moves=4, n_gradients=9, acceptance=0.0, forgotten=False)
    particles = Path(lambda u: (u.sum(-1), u.sum(-1))).at(torch.zeros(4, 1), 1.0)
    draws = particles.position.unsqueeze(1)
    state = State(particles, torch.zeros(2), draws, temperature=1.0, rungs=(rung,))
    status, reason = verdict(state, {"rows": 1.0}, False)
    assert status is Status.LIMIT_REACHED and "collapsed to a point" in reason
    moved = replace(state, rungs=(replace(rung, acceptance=0.8),))
    assert verdict(moved, {"rows": 1.0}, False)[0] is Status.CONVERGED
    assert verdict(moved, {"rows": math.nan, "log_prior": 1.0}, False)[0] is Status.LIMIT_REACHED
    assert nested_r_hat(torch.tensor([0.0, math.nan, 1.0, 2.0]), 2).isnan()
    apart = replace(moved, log_evidence=torch.tensor([-17.8, -28.1]))
    status, reason = verdict(apart, {"rows": 1.0}, False)
    assert status is Status.CONVERGED
    assert "differ by 10.3: raise num_particles" in reason


def test_a_covariance_that_cannot_be_factored_rejects_a_move():
    """The product of a narrow factor with itself may be singular in float32."""

    def program(x):
        scale = pyro.sample("scale", dist.LogNormal(0.0, 6.0).expand([2]).to_event(1))
        corr = pyro.sample("corr", dist.LKJCholesky(2, 0.1))
        factor = scale.unsqueeze(-1) * corr
        matrices = (factor @ factor.mT).unsqueeze(-3)
        mixture = GaussianMixture(torch.ones(1), torch.zeros(1, 2), FullCovariance(matrices))
        with pyro.plate("rows", len(x)):
            pyro.sample("x", mixture, obs=x)

    x = torch.randn(20, 2)
    sample = sample_posterior(program, {"x": x}, num_particles=64, most_moves=4, **QUIET)
    assert sample.draws["scale"].isfinite().all()


@pytest.mark.filterwarnings("ignore:torch.vmap cannot run")
def test_values_beyond_the_numbers_are_never_entered():
    """Distributions that validate their values refuse infinite ones; a move is then rejected."""

    def strict(x):
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        if not scale.isfinite():
            raise ValueError("scale: expected a finite one")
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, scale), obs=x)

    target = Target(strict, (X,))
    position = target.start(4).position
    position[2] = 1e4
    particles = target.path.at(position, 1.0)
    alone = target.path.at(position[[0, 1, 3]], 1.0)
    torch.testing.assert_close(particles.reference[[0, 1, 3]], alone.reference)
    torch.testing.assert_close(particles.increment[[0, 1, 3]], alone.increment)
    assert particles.log_density(1.0)[2] < -1e30 and particles.gradient.isfinite().all()
