"""From programs of many kinds to ArviZ: names, inferences of every kind, and closed forms."""

import functools
import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import (
    AutoDelta,
    AutoGuideList,
    AutoIAFNormal,
    AutoLowRankMultivariateNormal,
    AutoNormal,
)
from pyro.poutine import block

from pyro_ugmm.diagnostics import importance_resample, loo, pareto_k, to_inference_data
from pyro_ugmm.guides import full_rank, low_rank, mean_field
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.training import fit_mle, fit_svi
from tests.diagnostics.arviz_words import TOTAL, draws_of
from tests.programs.users_programs import (
    CONTINUOUS,
    DISCRETE,
    LINE,
    mixture,
    subsampled,
    switch,
    two_outcomes,
    two_studies,
)

QUIET = {"seed": 0, "progress": False}
pytestmark = [
    pytest.mark.filterwarnings("ignore:Estimated shape"),
    pytest.mark.filterwarnings("ignore:.*guide holds"),
]

ROWS = {
    "schools": {"y": ("schools",)},
    "schools, decentered": {"y": ("schools",)},
    "batting": {"hits": ("players",)},
    "nested plates": {"matrix": ("rows", "columns")},
    "a plate to the left": {"x": ("rows",)},
    "two outcomes": {"side": ("rows",), "y": ("rows",)},
    "two studies": {"first": ("firsts",), "second": ("seconds",)},
    "factors": {"y": ("rows",), "lean": ("rows",), "penalty": ()},
    "mask and scale": {"y": ("rows",)},
    "deterministic sites": {"y": ("rows",)},
    "groups": {"y": ("rows",)},
    "a Gaussian process": {"y": ()},
    "censored times": {"time": ("patients",), "longer": ("patients",)},
    "a module of sites": {"y": ("rows",)},
    "a module of parameters": {"y": ("rows",)},
    "a mixture": {"x": ("rows",)},
    "one label": {"y by all": ()},
    "a hidden covariate": {"x + y": ("rows",)},
    "a chain": {"x_0 + x_1 + x_2 + x_3": ()},
    "a subsample": {"y": ("rows",)},
}
PROGRAMS = CONTINUOUS | DISCRETE | {"a subsample": (subsampled, LINE)}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_log_likelihoods_have_the_names_of_plates(kind):
    program, data = PROGRAMS[kind]
    guide = mean_field(program, x=data)
    idata = to_inference_data(program, guide, data, num_samples=10, seed=0)
    found = {name: term.dims[2:] for name, term in idata.log_likelihood.data_vars.items()}
    assert found == ROWS[kind]
    assert idata.sample_stats["log_p"].shape == (1, 10)
    assert [*idata.observed_data.data_vars] == [*idata.posterior_predictive.data_vars]
    for group in ("prior", "posterior"):
        assert {*idata[group].data_vars} >= {*guide.median(**data)}


def test_sites_and_data_have_the_names_of_plates():
    program, data = CONTINUOUS["groups"]
    idata = to_inference_data(program, mean_field(program, x=data), data, num_samples=5, seed=0)
    assert idata.posterior["effect"].dims == ("chain", "draw", "groups", "effect_dim_1")
    assert {*idata.constant_data.data_vars} == {"x", "group"}
    assert idata.constant_data["group"].dims == ("rows",)
    coords = {"groups": ["a", "b", "c"]}
    guide = mean_field(program, x=data)
    idata = to_inference_data(program, guide, data, num_samples=5, coords=coords)
    assert [*idata.posterior["groups"].values] == ["a", "b", "c"]


def test_deterministic_sites_are_of_their_draws():
    program, data = CONTINUOUS["deterministic sites"]
    guide = mean_field(program, x=data)
    idata = to_inference_data(program, guide, data, num_samples=20, seed=0)
    for group in (idata.prior, idata.posterior):
        w = group["w"].values
        np.testing.assert_allclose(group["ratio"], w[..., 0] / w[..., 1], rtol=1e-5)
        expected = w[..., :1] + w[..., 1:] * data["x"].numpy()
        np.testing.assert_allclose(group["mean"], expected, rtol=1e-4, atol=1e-5)
        assert group["mean"].dims == ("chain", "draw", "rows")


def by_hand(x, side, y):
    scale = pyro.param("scale", torch.full((2,), 0.3), constraint=dist.constraints.positive)
    loc = pyro.param("loc", torch.zeros(2))
    pyro.sample("w", dist.Normal(loc, scale).to_event(1))


def in_a_list(model):
    guide = AutoGuideList(model)
    guide.append(AutoNormal(block(model, expose=["w"])))
    return guide


GUIDES = {
    "ours": lambda model: mean_field(model),
    "low rank": lambda model: low_rank(model, rank=1),
    "full rank": lambda model: full_rank(model),
    "Pyro's low rank": lambda model: AutoLowRankMultivariateNormal(model, rank=1),
    "a flow": lambda model: AutoIAFNormal(model, hidden_dim=[8]),
    "a list": in_a_list,
    "a function": lambda model: by_hand,
    "a point": lambda model: AutoDelta(model),
}
OUTCOMES = CONTINUOUS["two outcomes"][1]


@functools.cache
def sampled():
    sample = sample_posterior(two_outcomes, OUTCOMES, num_particles=512, **QUIET)
    assert sample.converged, sample.reason
    return to_inference_data(two_outcomes, sample, OUTCOMES, seed=0)


@pytest.mark.parametrize("kind", GUIDES)
def test_any_guide(kind):
    torch.manual_seed(0)
    guide = GUIDES[kind](two_outcomes)
    kwargs = {"steps": 150, "learning_rate": 0.1, "num_particles": 2}
    result = fit_svi(two_outcomes, guide, OUTCOMES, **kwargs, **QUIET)
    idata = to_inference_data(two_outcomes, result.guide, OUTCOMES, num_samples=400, seed=0)
    w = [data.posterior["w"] for data in (idata, sampled())]
    centers, spread = [one.mean(("chain", "draw")) for one in w], w[1].std(("chain", "draw"))
    assert abs((centers[0] - centers[1]) / spread).max() < 0.7
    if kind == "a point":
        assert np.isnan(pareto_k(idata)[0])
        return
    assert loo(idata)[TOTAL] == pytest.approx(loo(sampled())[TOTAL], abs=1.0)
    resampled = importance_resample(idata, seed=0).posterior["w"].std(("chain", "draw"))
    np.testing.assert_allclose(resampled, spread, rtol=0.3)


def test_what_is_said_of_a_row_is_left_out_together():
    idata = sampled()
    total = idata.log_likelihood["side"] + idata.log_likelihood["y"]
    draws = {"w": idata.posterior["w"].values}
    both = draws_of(posterior=draws, log_likelihood={"both": total.values})
    assert loo(idata)[TOTAL] == loo(both)[TOTAL]
    assert loo(idata, var_name="y")[TOTAL] > loo(idata)[TOTAL]


def test_rows_that_are_not_clear_are_asked_for():
    data = CONTINUOUS["two studies"][1]
    guide = full_rank(two_studies, x=data)
    idata = to_inference_data(two_studies, guide, data, num_samples=100, seed=0)
    with pytest.raises(ValueError, match=r"var_name: expected one of \['first', 'second'\]"):
        loo(idata)
    with pytest.raises(ValueError, match="var_name: expected an observed site among"):
        loo(idata, var_name="third")
    assert loo(idata, var_name="second").n_data_points == 5
    program, data = CONTINUOUS["a Gaussian process"]
    guide = mean_field(program, x=data)
    idata = to_inference_data(program, guide, data, num_samples=100, seed=0)
    with pytest.raises(ValueError, match="idata: expected the log-likelihood of rows, from an obs"):
        loo(idata)


def test_chains_of_a_program_with_discrete_sites():
    data = DISCRETE["a mixture"][1]
    torch.manual_seed(0)
    kernel = NUTS(mixture, max_plate_nesting=1, max_tree_depth=3)
    mcmc = MCMC(kernel, num_samples=40, warmup_steps=30, num_chains=2, disable_progbar=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mcmc.run(**data)
    idata = to_inference_data(mixture, mcmc, data, num_samples=10, seed=0)
    assert idata.posterior["loc"].shape == (2, 40, 2)
    sample = sample_posterior(mixture, data, num_particles=256, **QUIET)
    found = loo(to_inference_data(mixture, sample, data, num_samples=10, seed=0))
    assert loo(idata)[TOTAL] == pytest.approx(found[TOTAL], abs=1.0)


def test_the_evidence_of_a_label_is_the_sum_in_closed_form(caplog):
    x, y = LINE["x"], LINE["y"]
    covariance = torch.eye(12) + 4 * torch.ones(12, 12)
    terms = [
        np.log(p) + float(torch.distributions.MultivariateNormal(z * x, covariance).log_prob(y))
        for z, p in enumerate((0.2, 0.5, 0.3))
    ]
    evidence = np.logaddexp.reduce(terms)
    sample = sample_posterior(switch, LINE, num_particles=512, **QUIET)
    error = max(0.2, 6 * sample.log_evidence_error)
    assert sample.log_evidence == pytest.approx(evidence, abs=error)
    guide = full_rank(switch, x=LINE)
    result = fit_svi(switch, guide, LINE, steps=200, learning_rate=0.05, **QUIET)
    assert float(result.losses[-80:].mean()) == pytest.approx(-evidence, abs=0.5)
    assert "Guessed" not in caplog.text


def effects(sigma, y=None):
    """Effects of their own around a center: all of it is Gaussian."""
    center = pyro.sample("center", dist.Normal(0.0, 2.0))
    with pyro.plate("schools", len(sigma)):
        effect = pyro.sample("effect", dist.Normal(center, 1.5))
        pyro.sample("y", dist.Normal(effect, sigma), obs=y)


def test_local_effects_are_those_in_closed_form():
    sigma, y = torch.tensor([0.5, 1.0, 1.5]), torch.tensor([3.0, 1.0, -2.0])
    prior = torch.eye(3) * 1.5**2 + 4.0
    covariance = prior + sigma.square().diag()
    mean = prior @ torch.linalg.solve(covariance, y)
    spread = (prior - prior @ torch.linalg.solve(covariance, prior)).diagonal().sqrt()
    evidence = torch.distributions.MultivariateNormal(torch.zeros(3), covariance).log_prob(y)
    data = {"sigma": sigma, "y": y}
    sample = sample_posterior(effects, data, num_particles=256, **QUIET)
    assert sample.log_evidence == pytest.approx(float(evidence), abs=0.5)
    guide = full_rank(effects, start={"center": 1.0}, x=data)
    fit_svi(effects, guide, data, steps=250, learning_rate=0.1, num_particles=2, **QUIET)
    for inference in (sample, guide):
        idata = to_inference_data(effects, inference, data, num_samples=1000, seed=0)
        found = idata.posterior["effect"].stack(draws=("chain", "draw")).values
        assert np.abs((found.mean(-1) - mean.numpy()) / spread.numpy()).max() < 0.3
        np.testing.assert_allclose(found.std(-1), spread, rtol=0.2)


def test_maximum_likelihood_sums_discrete_sites_out():
    """Of a mixture of two known components: the share, against a grid."""

    def model(x):
        share = pyro.param("share", torch.tensor(0.5), dist.constraints.unit_interval)
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Bernoulli(share))
            pyro.sample("x", dist.Normal(4 * z, 1.0), obs=x)

    x = torch.cat([LINE["x"], LINE["y"][:6] + 4])
    result = fit_mle(model, {"x": x}, steps=200, learning_rate=0.05, **QUIET)
    (logit,) = [value for _, value in result.model.named_parameters()]
    shares = torch.linspace(0.01, 0.99, 99)[:, None]
    densities = [torch.distributions.Normal(loc, 1.0).log_prob(x).exp() for loc in (0.0, 4.0)]
    best = ((1 - shares) * densities[0] + shares * densities[1]).log().sum(-1).argmax()
    assert float(logit.detach().sigmoid()) == pytest.approx(float(shares[best]), abs=0.02)
