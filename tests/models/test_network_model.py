import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import (
    AutoDelta,
    AutoDiagonalNormal,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)

from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from tests.models.networks import accuracy, data


def classifier(**kwargs):
    return UGMMClassifier(UGMMNetwork([2, 6, 3]), Priors(**kwargs))


def test_sites_and_shapes():
    model = classifier(weights=1.0)
    x, y = data()
    trace = poutine.trace(model).get_trace(x, y)
    shapes = {
        name: tuple(site["value"].shape)
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and name != "data"
    }
    assert shapes == {
        "layers.0.loc": (6, 2),
        "layers.0.variance": (6, 2),
        "layers.0.weights": (6, 2),
        "layers.1.loc": (3, 6),
        "layers.1.variance": (3, 6),
        "layers.1.weights": (3, 6),
        "y": (40,),
    }
    assert not [name for name, site in trace.nodes.items() if site["type"] == "param"]
    assert model(x).shape == (40,)


@pytest.mark.parametrize("left_out", ["means", "variances", "weights"])
def test_what_has_no_prior_is_the_networks_own(left_out):
    model = classifier(**({"weights": 1.0} | {left_out: None}))
    trace = poutine.trace(model).get_trace(*data())
    parameter = {"means": "loc", "variances": "scale", "weights": "logits"}[left_out]
    params = {
        name.split(".", 1)[1] for name, site in trace.nodes.items() if site["type"] == "param"
    }
    assert params == {f"layers.{i}.{parameter}" for i in range(2)}


def test_joint_density_by_hand():
    model = classifier(weights=2.0)
    x, y = data()
    trace = poutine.trace(model).get_trace(x, y)
    value = {name: site["value"] for name, site in trace.nodes.items() if "value" in site}
    expected, h = 0.0, x
    for i, layer in enumerate(model.network.layers):
        loc, variance, weights = (value[f"layers.{i}.{n}"] for n in ("loc", "variance", "weights"))
        center = layer.input_center if i else torch.zeros(2)
        spread = layer.input_spread if i else torch.ones(2)
        expected += torch.distributions.Normal(center, 2 * spread).log_prob(loc).sum()
        inverse_gamma = torch.distributions.InverseGamma(2.0, 1.0).log_prob(variance / spread**2)
        expected += (inverse_gamma - 2 * spread.log()).sum()
        expected += (
            torch.distributions.Dirichlet(torch.full_like(weights, 2.0)).log_prob(weights).sum()
        )
        h = torch.nn.functional.layer_norm(h, h.shape[-1:]) if i else h
        density = torch.distributions.Normal(loc, variance.sqrt()).log_prob(h.unsqueeze(-2)).exp()
        h = (weights * density).sum(-1).log()
    expected += torch.distributions.Categorical(logits=h).log_prob(y).sum()
    torch.testing.assert_close(trace.log_prob_sum(), expected, rtol=1e-4, atol=1e-3)


def test_minibatches_scale_the_likelihood_only():
    model = classifier()
    x, y = data(40)
    conditioned = poutine.condition(
        model, data={site: prior.sample() for site, prior in model.site_distributions().items()}
    )

    def terms(*args, **kwargs):
        trace = poutine.trace(conditioned).get_trace(*args, **kwargs)
        likelihood = trace.log_prob_sum(lambda name, site: name == "y")
        return likelihood, trace.log_prob_sum() - likelihood

    full_likelihood, full_prior = terms(x, y)
    halves = [terms(x[rows], y[rows], size=40) for rows in (slice(0, 20), slice(20, 40))]
    torch.testing.assert_close(sum(half[0] for half in halves) / 2, full_likelihood)
    for half in halves:
        torch.testing.assert_close(half[1], full_prior)


@pytest.mark.parametrize(
    "guide_class",
    [
        AutoNormal,
        AutoDiagonalNormal,
        AutoMultivariateNormal,
        AutoLowRankMultivariateNormal,
        AutoDelta,
    ],
)
@pytest.mark.parametrize("weights", [None, 3.0])
def test_pyros_autoguides_learn_under_pyros_own_svi(guide_class, weights):
    """Unchanged, from Pyro's own default start, which for most models leaves all neurons alike."""
    x, y = data()
    with pyro.get_param_store().scope():
        model = classifier(weights=weights)
        guide = guide_class(model)
        svi = SVI(model, guide, pyro.optim.ClippedAdam({"lr": 0.05}), Trace_ELBO())
        losses = [svi.step(x, y) for _ in range(300)]
        assert sum(losses[-20:]) < sum(losses[:20])
        assert accuracy(model, guide, x, y) > 0.5  # neurons that stay alike guess one in three


def test_vectorized_particles_estimate_the_same_elbo():
    x, y = data()
    with pyro.get_param_store().scope():
        model = classifier(weights=1.0)
        guide = AutoNormal(model, init_scale=0.01)
        loop = Trace_ELBO(num_particles=200).loss(model, guide, x, y)
        together = Trace_ELBO(
            num_particles=200, vectorize_particles=True, max_plate_nesting=1
        ).loss(model, guide, x, y)
    assert together == pytest.approx(loop, rel=0.02)


def test_predictive_in_parallel_matches_one_by_one():
    x, _ = data()
    model = classifier(weights=1.0)
    draws = {site: prior.sample((300,)) for site, prior in model.site_distributions().items()}
    parallel = Predictive(model, draws, parallel=True)(x)["y"].reshape(300, -1)
    one_by_one = Predictive(model, draws)(x)["y"].reshape(300, -1)
    scores = torch.stack(
        [model.scores(x, {site: draw[i] for site, draw in draws.items()}) for i in range(300)]
    )
    probs = scores.softmax(-1)
    for labels in (parallel, one_by_one):
        frequency = torch.nn.functional.one_hot(labels, 3).float()
        assert (frequency.mean(0) - probs.mean(0)).abs().max() < 0.12


def test_models_share_a_network_and_keep_their_start():
    x, y = data()
    net = UGMMNetwork([2, 6, 3])
    model = UGMMClassifier(net, Priors(), copy=False)
    twin = UGMMClassifier(net, Priors(weights=1.0), copy=False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model(x, y), twin(x, y), model(x)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    starts = model.site_distributions()["layers.0.loc"].base_dist.start.clone()
    with torch.no_grad():
        net.layers[0].loc.zero_()
    torch.testing.assert_close(model.site_distributions()["layers.0.loc"].base_dist.start, starts)


def test_a_model_made_in_inference_mode_has_its_priors():
    with torch.inference_mode():
        model = UGMMClassifier(UGMMNetwork([2, 5, 3]), Priors())
        assert model(data()[0]).shape == data()[1].shape
    assert set(model.site_distributions()) == set(model.site_distributions())


def test_dropout_is_off_under_priors():
    x, y = data()
    model = UGMMClassifier(UGMMNetwork([2, 6, 3], dropout=0.5), Priors()).train()
    draws = {site: prior.sample() for site, prior in model.site_distributions().items()}
    torch.testing.assert_close(
        model.log_likelihood(x, y, draws=draws), model.log_likelihood(x, y, draws=draws)
    )


def test_nuts_runs_on_it():
    x, y = data(12)
    model = UGMMClassifier(UGMMNetwork([2, 3]), Priors())
    mcmc = MCMC(NUTS(model), num_samples=10, warmup_steps=10, disable_progbar=True)
    mcmc.run(x, y)
    samples = mcmc.get_samples()
    assert (
        samples["layers.0.variance"].shape == (10, 3, 2)
        and (samples["layers.0.variance"] > 0).all()
    )


def test_on_the_device_it_is_given(device):
    x, y = (tensor.to(device) for tensor in data())
    model = UGMMClassifier(UGMMNetwork([2, 6, 3]), Priors(weights=1.0)).to(device)
    assert model(x, y).device.type == device.type
    trace = poutine.trace(model).get_trace(x, y)
    assert trace.log_prob_sum().device.type == device.type


X, Y = data()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: classifier()(X[:, :1], Y),
            r"x: expected shape \(n, 2\) with at least one row, got \(40, 1\)",
        ),
        (lambda: classifier()(X[:0], Y[:0]), r"x: expected shape \(n, 2\) with at least one row"),
        (lambda: classifier()(X[0], Y), r"x: expected shape \(n, 2\)"),
        (lambda: classifier()(X.double(), Y), "x: expected torch.float32"),
        (lambda: classifier()(X.long(), Y), "x: expected floating-point"),
        (
            lambda: classifier()(X * math.nan, Y),
            r"x: expected finite values .*, got nan in row 0, column 0",
        ),
        (lambda: classifier()(X / 0, Y), "x: expected finite values"),
        (
            lambda: classifier()(X * 1e30),
            "x: expected features whose scores stay finite in torch.fl",
        ),
        (lambda: classifier()(X, Y + 1), "y: expected labels from 0 to 2, got 3"),
        (lambda: classifier()(X, Y - 1), "y: expected labels from 0 to 2, got -1"),
        (lambda: classifier()(X, Y[:5]), r"y: expected 40 labels.*got shape \(5,\)"),
        (
            lambda: classifier()(X, Y.float()),
            r"y: expected integer labels \(UGMMRegressor takes continuous.*, got torch.float32",
        ),
        (lambda: classifier()(X, Y.to("meta")), "y: expected device cpu"),
        (lambda: classifier()(X, Y, size=7), "size: expected an integer of at least 40, got 7"),
        (
            lambda: UGMMClassifier(torch.nn.Linear(2, 3)),
            "network: expected a UGMMNetwork, got Linear",
        ),
        (
            lambda: UGMMClassifier(UGMMNetwork([2, 3]), dist.Normal(0, 1)),
            "priors: expected Priors or None",
        ),
        (
            lambda: UGMMClassifier(UGMMNetwork([2, 3]), Priors.from_data(torch.randn(9, 5))),
            r"priors\.center: expected shape \(2,\)",
        ),
        (lambda: classifier().scores(X, {"layers.0.mean": Y}), "draws: expected sites like"),
    ],
)
def test_bad_data(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("value", [1e-44, 1e-40])
@pytest.mark.parametrize("rows", [X, 1e3 * X])
def test_an_overflow_by_a_drawn_variance_is_not_blamed_on_features(value, rows):
    tiny = Priors(variances=dist.Uniform(value, 2 * value))
    model = UGMMClassifier(UGMMNetwork([2, 3]), tiny)
    with pytest.raises(
        ValueError, match=r"priors: expected some whose draws keep.*layers\.0\.vari"
    ):
        model(rows)
    assert not model.scores(rows, {"layers.0.variance": torch.full((3, 2), value)}).isfinite().all()
    far = torch.full((4, 2), 1e30)
    with pytest.raises(ValueError, match=r"x: expected features whose scores.* row 0, column 0"):
        model(far)
