import math

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from scipy import stats

from pyro_ugmm.diagnostics import loo, predictive_mixture, to_inference_data
from pyro_ugmm.guides import full_rank, mean_field
from pyro_ugmm.models import Priors, UGMMClassifier, UGMMRegressor
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.saving import load_fitted, save_fitted
from pyro_ugmm.training import fit_mle, fit_svi
from tests.models.regressions import data, regressor, several

X, Y = data()
MANY = several()[1]
QUIET = {"progress": False, "seed": 0}


def drawn(model, n=None):
    size = () if n is None else (n,)
    return {site: prior.sample(size) for site, prior in model.site_distributions().items()}


def test_sites_and_shapes():
    model = regressor(MANY, Priors())
    trace = poutine.trace(model).get_trace(X, MANY)
    shapes = {
        name: tuple(site["value"].shape)
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and name != "data"
    }
    assert shapes == {
        "layers.0.loc": (8, 2),
        "layers.0.variance": (8, 2),
        "layers.1.loc": (20, 8),
        "layers.1.variance": (20, 8),
        "outputs.loc": (2, 10),
        "outputs.variance": (2, 10),
        "y": (200, 2),
    }
    assert model(X).shape == (200, 2) and regressor(Y)(X).shape == (200,)


@pytest.mark.parametrize("y", [Y, MANY])
def test_the_density_is_scipys(y):
    model = regressor(y, Priors())
    draws = drawn(model)
    weights = model.scores(X, draws).detach().unflatten(-1, (-1, 10)).softmax(-1).double().numpy()
    loc, scale = draws["outputs.loc"].numpy(), draws["outputs.variance"].sqrt().numpy()
    targets = y.reshape(200, -1, 1).double().numpy()
    expected = np.log((weights * stats.norm.pdf(targets, loc, scale)).sum(-1)).sum(-1)
    found = model.log_likelihood(X, y, draws=draws)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-4, atol=1e-3)
    many = {site: torch.stack([value, value]) for site, value in draws.items()}
    torch.testing.assert_close(model.log_likelihood(X, y, draws=many)[1], found)


def test_the_density_integrates_to_one():
    model = regressor(Y, Priors())
    mixture = model.observation(drawn(model), X[:5])
    reach = 12 * float(mixture.scale.max()) + float((mixture.loc - 150).abs().max())
    grid = torch.linspace(150 - reach, 150 + reach, 200_001).unsqueeze(-1)
    total = torch.trapezoid(mixture.log_prob(grid).double().exp(), grid, dim=0)
    torch.testing.assert_close(total, torch.ones(5).double(), atol=1e-3, rtol=0)


def test_joint_density_by_hand():
    model = regressor(MANY, Priors())
    center, spread = MANY.mean(0).unsqueeze(-1), MANY.std(0).unsqueeze(-1)
    draws = drawn(model)
    loc, variance = draws["outputs.loc"], draws["outputs.variance"]
    expected = torch.distributions.Normal(center, 2 * spread).log_prob(loc).sum()
    shifted = -3 + 2 * spread.log()
    expected += torch.distributions.LogNormal(shifted, 1.5).log_prob(variance).sum()
    layers = UGMMClassifier(model.network, Priors())
    expected += layers.log_prior({s: v for s, v in draws.items() if s.startswith("layers")})
    torch.testing.assert_close(model.log_prior(draws), expected, rtol=1e-4, atol=1e-2)
    trace = poutine.trace(poutine.condition(model, draws)).get_trace(X, MANY)
    likelihood = model.log_likelihood(X, MANY, draws=draws).sum()
    torch.testing.assert_close(trace.log_prob_sum(), expected + likelihood, rtol=1e-3, atol=1e-1)


def test_minibatches_scale_the_likelihood_only():
    model = regressor(Y, Priors())
    known = poutine.condition(model, drawn(model))

    def terms(*args, **kwargs):
        trace = poutine.trace(known).get_trace(*args, **kwargs)
        likelihood = trace.log_prob_sum(lambda name, _: name == "y")
        return likelihood, trace.log_prob_sum() - likelihood

    whole, prior = terms(X, Y)
    halves = [terms(X[rows], Y[rows], size=200) for rows in (slice(100), slice(100, 200))]
    torch.testing.assert_close(sum(half[0] for half in halves) / 2, whole)
    torch.testing.assert_close(halves[0][1], prior)


def test_components_start_over_the_quantiles_of_targets():
    model = regressor(MANY, Priors())
    shares = (MANY.unsqueeze(-1) <= model.outputs.loc).float().mean(0)
    middles = (torch.arange(10) + 0.5) / 10
    torch.testing.assert_close(shares, middles.expand(2, -1), atol=0.01, rtol=0)
    torch.testing.assert_close(model.start_values()["outputs.loc"], model.outputs.loc)
    plain = UGMMRegressor(UGMMNetwork([2, 5]))
    torch.testing.assert_close(
        plain.outputs.loc[0], torch.special.ndtri((torch.arange(5) + 0.5) / 5)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e4])
def test_units_of_targets_shift_the_fit_and_change_nothing_else(dtype, factor):
    x, y = X.to(dtype), ((Y - 150) / 30).to(dtype)

    def score(targets):
        model = regressor(targets, dtype=dtype, dropout=0.1)
        fit_mle(model, x, targets, steps=30, **QUIET)
        assert model.outputs.loc.dtype == dtype
        return model.eval().log_likelihood(x, targets).mean()

    expected = score(y) - math.log(factor)
    assert score(factor * (y + 5)).item() == pytest.approx(expected.item(), abs=0.02)


@pytest.mark.parametrize("priors", [None, Priors()])
def test_it_learns_the_curve(priors):
    model = regressor(Y, priors, dropout=0.2)
    guide = None if priors is None else mean_field(model)
    if guide is None:
        fit_mle(model, X, Y, **QUIET)
    else:
        fit_svi(model, guide, X, Y, steps=300, learning_rate=0.1, **QUIET)
    x, y = data(500, seed=1)
    found = predictive_mixture(model, guide, x, 50, seed=0)
    marginal = stats.norm.logpdf(y, float(Y.mean()), float(Y.std())).mean()
    assert found.log_prob(y).mean() > marginal + 0.3


def test_it_learns_where_targets_are_noisy():
    x, y = data(1000)
    model = regressor(y)
    fit_mle(model, x, y, **QUIET)
    x, _ = data(500, seed=1)
    spread = predictive_mixture(model, None, x).variance.sqrt()
    is_noisy = x[:, 1] > 0
    assert spread[is_noisy].median() > 1.1 * spread[~is_noisy].median()


def test_pyros_own_svi_learns():
    with pyro.get_param_store().scope():
        model = regressor(Y, Priors())
        guide = AutoNormal(model)
        svi = SVI(model, guide, pyro.optim.ClippedAdam({"lr": 0.05}), Trace_ELBO())
        losses = [svi.step(X, Y) for _ in range(100)]
        assert sum(losses[-10:]) < sum(losses[:10])
        draws = Predictive(model, guide=guide, num_samples=20, parallel=True)(X)["y"]
        assert draws.reshape(20, -1).shape == (20, 200)


@pytest.mark.parametrize("left_out", ["means", "variances"])
def test_what_has_no_prior_is_learned(left_out):
    targets = Priors.from_data(Y.unsqueeze(-1), **{left_out: None})
    model = UGMMRegressor(UGMMNetwork([2, 4, 5]), Priors(), targets=targets)
    learned = {"means": "standard_loc", "variances": "standard_scale_unconstrained"}[left_out]
    kept = {"means": "outputs.loc", "variances": "outputs.variance"}[left_out]
    assert kept not in model.site_distributions()
    before = {name: p.detach().clone() for name, p in model.outputs.named_parameters()}
    fit_svi(model, mean_field(model), X, Y, steps=5, **QUIET)
    moved = {n for n, p in model.outputs.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {learned}


def test_priors_start_where_maximum_likelihood_ended():
    likely = regressor(MANY, dropout=0.2)
    fit_mle(likely, X, MANY, steps=50, **QUIET)
    targets = Priors.from_data(MANY, variances=None)
    options = {"n_outputs": 2, "targets": targets}
    model = UGMMRegressor(UGMMNetwork([2, 8, 20]), Priors(), **options)
    guide = mean_field(model, start=likely, init_scale=1e-6)
    guide(X)
    start = guide.median()
    torch.testing.assert_close(start["outputs.loc"], likely.outputs.loc.detach())
    torch.testing.assert_close(model.outputs.scale, likely.outputs.scale)
    expected = likely.eval().log_likelihood(X, MANY)
    torch.testing.assert_close(model.log_likelihood(X, MANY, draws=start), expected)


def test_several_starts_at_once_and_a_start_of_another_model():
    several_fits = fit_mle(regressor(Y), X, Y, steps=20, num_starts=3, **QUIET)
    assert "fitted at once" in several_fits.reason
    mixed = predictive_mixture(several_fits.model, several_fits, X, 3)
    each = torch.stack([one.model.eval().log_likelihood(X, Y) for one in several_fits.fits])
    torch.testing.assert_close(mixed.log_prob(Y), each.logsumexp(0) - math.log(3))
    model, other = regressor(Y, Priors(weights=1.0)), regressor(Y, seed=5)
    guide = mean_field(model, start=other)
    guide(X)
    torch.testing.assert_close(guide.median()["layers.0.loc"], other.network.layers[0].loc.detach())


def test_arviz_has_it_all_and_loo():
    model = regressor(MANY, Priors(), n_components=4)
    guide = mean_field(model)
    fit_svi(model, guide, X, MANY, steps=50, **QUIET)
    idata = to_inference_data(model, guide, X, MANY, num_samples=200, seed=0)
    assert idata.posterior["outputs.loc"].dims == ("chain", "draw", "output", "component")
    assert idata.posterior_predictive["y"].dims == ("chain", "draw", "observation", "output")
    assert idata.log_likelihood["y"].dims == ("chain", "draw", "observation")
    draws = {
        site: torch.tensor(idata.posterior[site].values[0]) for site in model.site_distributions()
    }
    found = torch.tensor(idata.log_likelihood["y"].values[0])
    torch.testing.assert_close(found, model.log_likelihood(X, MANY, draws=draws))
    with pytest.warns(UserWarning, match="Pareto k"):
        assert loo(idata).n_data_points == 200


def test_the_posterior_itself():
    x, y = data(15)
    torch.manual_seed(0)
    model = UGMMRegressor.from_data(UGMMNetwork([2, 2]), y, Priors(weights=1.0))
    sample = sample_posterior(
        model, x, y, num_particles=8, num_populations=2, most_moves=4, **QUIET
    )
    assert sample.draws["outputs.variance"].shape == (32, 1, 2) and not sample.held
    predicted = predictive_mixture(model, sample, x)
    marginal = stats.norm.logpdf(y, float(y.mean()), float(y.std())).mean()
    assert predicted.log_prob(y).mean() > marginal


@pytest.mark.parametrize("make", [mean_field, full_rank])
@pytest.mark.parametrize("y", [Y, MANY])
def test_files_hold_it(make, y, tmp_path):
    model = regressor(y, Priors(), n_components=3)
    guide = make(model)
    fit_svi(model, guide, X, y, steps=3, **QUIET)
    save_fitted(tmp_path / "fitted.safetensors", model, guide)
    again, its_guide = load_fitted(tmp_path / "fitted.safetensors")
    assert repr(again) == repr(model)
    expected = predictive_mixture(model, guide, X, 20, seed=0).log_prob(y)
    assert torch.equal(predictive_mixture(again, its_guide, X, 20, seed=0).log_prob(y), expected)


def test_missing_inputs_are_left_out():
    holes = X.clone()
    holes[::4, 1] = torch.nan
    torch.manual_seed(0)
    network = UGMMNetwork([2, 8, 10], missing="omit")
    network.reset_parameters(holes)
    model = UGMMRegressor.from_data(network, Y, Priors())
    guide = mean_field(model)
    fit_svi(model, guide, holes, Y, steps=50, **QUIET)
    assert predictive_mixture(model, guide, holes, 20).log_prob(Y).isfinite().all()


@pytest.mark.parametrize(
    "y",
    [
        Y.numpy(),
        Y.double().numpy(),
        Y.tolist(),
        pd.Series(Y.numpy()),
        pd.DataFrame({"y": Y.numpy()}),
        Y.unsqueeze(-1),
    ],
)
def test_targets_of_any_kind(y):
    model = UGMMRegressor.from_data(UGMMNetwork([2, 10]), y)
    like = regressor(Y).outputs
    torch.testing.assert_close(model.outputs.center, like.center)
    torch.testing.assert_close(model.check_data(X, y)[1], Y)


def test_on_the_device_it_is_given(device):
    model = regressor(Y, Priors()).to(device)
    x, y = X.to(device), Y.to(device)
    assert poutine.trace(model).get_trace(x, y).log_prob_sum().device.type == device.type
    assert model(x).device.type == device.type


LABELS = torch.arange(200) % 3
PLAIN = UGMMRegressor(UGMMNetwork([2, 5]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: regressor(LABELS), "y: expected continuous targets.*UGMMClassifier takes labels"),
        (lambda: regressor(Y)(X, LABELS), r"y: expected continuous targets.*got whole .*int64"),
        (lambda: regressor(Y)(X, LABELS.numpy()), "y: expected continuous targets"),
        (lambda: regressor(Y)(X, LABELS.tolist()), "y: expected continuous targets"),
        (lambda: regressor(Y)(X, pd.Series(LABELS)), "y: expected continuous targets"),
        (lambda: regressor(Y)(X, LABELS > 1), "y: expected continuous targets.*torch.bool"),
        (lambda: regressor(Y)(X, ["a"] * 200), "y: expected numbers"),
        (
            lambda: UGMMClassifier(UGMMNetwork([2, 3]))(X, Y),
            r"y: expected integer labels \(UGMMRegressor takes continuous targets\)",
        ),
        (
            lambda: regressor(torch.full((9,), 7.5)),
            "y: expected targets that vary, got 7.5 in all 9",
        ),
        (
            lambda: regressor(torch.stack([Y, 0 * Y], -1)),
            "y: expected targets that vary, got 0 in all 200 rows of output 1",
        ),
        (lambda: regressor(Y[:1]), "y: expected at least 2 rows, got 1"),
        (lambda: UGMMRegressor.from_data(UGMMNetwork([2, 5]), Y[None, None]), "y: expected shape"),
        (lambda: regressor(Y / 0), "y: expected finite values"),
        (lambda: regressor(Y)(X, Y * math.nan), "y: expected finite values"),
        (lambda: regressor(Y)(X, Y[:5]), r"y: expected shape \(200,\), as x has rows, got \(5,\)"),
        (lambda: regressor(Y)(X, MANY), r"y: expected shape \(200,\)"),
        (lambda: regressor(MANY)(X, Y), r"y: expected shape \(200, 2\)"),
        (lambda: regressor(Y)(X, Y.double()), "y: expected torch.float32"),
        (lambda: PLAIN(X, Y), "y: expected targets in the model's units.*from_data.*spreads"),
        (lambda: UGMMRegressor(None), "network: expected a UGMMNetwork"),
        (lambda: UGMMRegressor.from_data(None, Y), "network: expected a UGMMNetwork"),
        (
            lambda: UGMMRegressor(UGMMNetwork([2, 5]), n_outputs=2),
            "network: expected a multiple of n_outputs=2 neurons in the last layer, got 5",
        ),
        (lambda: UGMMRegressor(UGMMNetwork([2, 5]), n_outputs=0), "n_outputs: expected a positive"),
        (lambda: UGMMRegressor(UGMMNetwork([2, 5]), 3), "priors: expected Priors or None"),
        (
            lambda: UGMMRegressor(UGMMNetwork([2, 5]), targets=dist.Normal(0, 1)),
            "targets: expected Priors or None, got Normal",
        ),
        (
            lambda: UGMMRegressor(UGMMNetwork([2, 5]), targets=Priors(center=torch.zeros(3))),
            r"targets.center: expected shape \(1,\) or \(\), one for each output, got \(3,\)",
        ),
        (
            lambda: UGMMRegressor(UGMMNetwork([2, 5]), min_output_scale=0.0),
            "min_output_scale: expected a positive number, got 0.0",
        ),
        (
            lambda: mean_field(regressor(Y, Priors()), start=UGMMNetwork([2, 8, 10])),
            r"start: expected a UGMMRegressor of sizes \(2, 8, 10\) and 1 outputs",
        ),
        (lambda: regressor(Y)(X * 1e30), "x: expected features whose scores stay finite"),
        (
            lambda: fit_mle(regressor(Y), X, **QUIET),
            "y: expected labels, one for each row, got None",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
