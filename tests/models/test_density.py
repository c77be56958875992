import math

import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive, Trace_ELBO

from pyro_ugmm.diagnostics import class_probabilities, loo, to_inference_data
from pyro_ugmm.diagnostics.arviz_interface import group_names
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_mle, fit_svi
from tests.models.networks import data

X, Y = data()
OBJECTIVES = ("conditional", "score")


def density(objective="conditional", priors=None, sizes=(3, 6, 1), **kwargs):
    torch.manual_seed(0)
    return UGMMDensity(UGMMNetwork(sizes, **kwargs), 3, priors, objective=objective)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_scores_are_the_roots_at_every_label(objective):
    model = density(objective)
    scores = model.scores(X)
    assert scores.shape == (40, 3)
    codes = torch.tensor([-1.0, 0.0, 1.0]) * math.sqrt(1.5)  # of mean zero and variance one
    for label, code in enumerate(codes):
        inputs = torch.cat([X, code.expand(40, 1)], -1)
        torch.testing.assert_close(scores[:, label], model.network(inputs)[:, 0])
    torch.testing.assert_close(model.inputs(X, Y)[:, -1], codes[Y])


def test_the_conditional_objective_is_the_exact_probability_of_labels():
    model = density()
    terms = model.log_likelihood(X, Y)
    expected = model.scores(X).softmax(-1)[torch.arange(40), Y].log()
    torch.testing.assert_close(terms, expected)
    others = sum(model.log_likelihood(X, torch.full_like(Y, c)).exp() for c in range(3))
    torch.testing.assert_close(others, torch.ones(40))


def test_the_score_objective_is_the_score_and_no_likelihood():
    model = density("score", Priors())
    draws = {site: prior.sample() for site, prior in model.site_distributions().items()}
    trace = poutine.trace(poutine.condition(model, draws)).get_trace(X, Y)
    score = model.scores(X, draws)[torch.arange(40), Y].sum()
    torch.testing.assert_close(trace.log_prob_sum(lambda name, _: name == "y"), score)
    with pytest.raises(ValueError, match=r"model: expected one with a likelihood.*score"):
        model.log_likelihood(X, Y, draws=draws)
    idata = to_inference_data(model, mean_field(model), X, Y, num_samples=100, seed=0)
    assert "log_likelihood" not in group_names(idata) and "log_p" in idata.sample_stats
    with pytest.raises(ValueError, match="nor of a score objective"):
        loo(idata)
    # minibatches scale it as they scale a likelihood
    half = poutine.trace(poutine.condition(model, draws)).get_trace(X[:20], Y[:20], size=40)
    expected = 2 * model.scores(X[:20], draws)[torch.arange(20), Y[:20]].sum()
    torch.testing.assert_close(half.log_prob_sum(lambda name, _: name == "y"), expected)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_labels_are_drawn_from_normalized_scores(objective):
    model = density(objective, Priors())
    guide = mean_field(model, init_scale=1e-4)
    probs = model.scores(X).softmax(-1)
    draws = Predictive(model, guide=guide, num_samples=2000, parallel=True)(X)["y"]
    frequency = torch.nn.functional.one_hot(draws.reshape(2000, 40), 3).float().mean(0)
    assert (frequency - probs).abs().max() < 6 * 0.5 / math.sqrt(2000)
    torch.testing.assert_close(
        class_probabilities(model, guide, X, num_samples=5).mean(0), probs, atol=1e-3, rtol=0
    )
    with torch.no_grad():
        loop = Trace_ELBO(num_particles=20).loss(model, guide, X, Y)
        together = Trace_ELBO(num_particles=20, vectorize_particles=True, max_plate_nesting=1).loss(
            model, guide, X, Y
        )
    assert together == pytest.approx(loop, rel=0.02)


def test_both_learn():
    for objective, least in (("conditional", 0.95), ("score", 0.6)):
        model = density(objective, min_scale=0.05)
        fit_mle(model, X, Y, seed=0, progress=False)
        x, y = data(90, seed=1)
        assert (model.scores(x).argmax(-1) == y).float().mean() > least, objective
    model = density("conditional", Priors.from_data(X))
    guide = mean_field(model)
    fit_svi(model, guide, X, Y, seed=0, progress=False)
    probs = class_probabilities(model, guide, x, seed=0).mean(0)
    assert (probs.argmax(-1) == y).float().mean() > 0.9


def test_the_score_has_no_maximum_without_a_floor_and_a_likelihood_has():
    losses = {}
    for objective in OBJECTIVES:
        for floor in (1e-2, 1e-5):
            model = density(objective, min_scale=floor, normalization="none")
            # A hidden neuron that is nearly constant, which the root can sharpen without end.
            with torch.no_grad():
                first, root = model.network.layers
                first.loc[0], first.scale = (
                    0.0,
                    first.scale.clone().index_fill(0, torch.tensor([0]), 1e4),
                )
                constant = model.network.layers[0](model.inputs(X, Y))[:, 0].mean()
                root.loc = root.loc.clone().index_fill(1, torch.tensor([0]), constant.item())
                root.scale = root.scale.clone().index_fill(1, torch.tensor([0]), 2 * floor)
            losses[objective, floor] = -model.row_terms(X, Y).mean().item()
    gain = losses["score", 1e-2] - losses["score", 1e-5]
    assert gain == pytest.approx(math.log(1e3), rel=0.1)  # so much more for each smaller floor
    assert losses["conditional", 1e-5] > 0  # a log probability of labels is bounded by zero


def test_priors_of_features_leave_the_label_its_own():
    units = torch.tensor([10.0, 0.1])
    x = X * units
    network = UGMMNetwork([3, 4, 1])
    bare = UGMMDensity(network, 3)
    network.reset_parameters(bare.inputs(x, Y))
    model = UGMMDensity(network, 3, Priors.from_data(x))
    prior = model.site_distributions()["layers.0.loc"].base_dist
    torch.testing.assert_close(prior.scale[0], torch.cat([x.std(0), torch.ones(1)]))
    torch.testing.assert_close(prior.loc[0], torch.cat([x.mean(0), torch.zeros(1)]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: density(sizes=(3, 6, 2)), "network: expected two inputs or more.*one root"),
        (lambda: density(sizes=(1, 1)), "network: expected two inputs or more"),
        (lambda: density("likelihood"), "objective: expected one of .*, got 'likelihood'"),
        (lambda: UGMMDensity(UGMMNetwork([3, 1]), 1), "n_classes: expected an integer of at least"),
        (lambda: UGMMDensity(torch.nn.Linear(3, 1), 2), "network: expected a UGMMNetwork"),
        (lambda: density()(X[:, :1], Y), r"x: expected shape \(n, 2\)"),
        (
            lambda: UGMMDensity(UGMMNetwork([3, 4, 1]), 3, Priors(center=torch.zeros(3))),
            r"priors\.center: expected shape \(2,\) or \(\), as the network has .*, got \(3,\)",
        ),
        (lambda: density()(X, Y + 1), "y: expected labels from 0 to 2, got 3"),
        (lambda: density()(X * math.nan, Y), "x: expected finite values"),
        (
            lambda: mean_field(density(priors=Priors()), start=UGMMNetwork([3, 1])),
            "start: expected a UGMMNetwork of sizes",
        ),
        (lambda: UGMMClassifier(None), "network: expected a UGMMNetwork"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("objective", ["conditional", "score"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_labels_of_any_integer_type(objective, dtype):
    x, y = data()

    def losses(labels):
        torch.manual_seed(0)
        model = UGMMDensity(UGMMNetwork([3, 6, 1]), 3, objective=objective)
        return fit_mle(model, x, labels, steps=3, seed=0, progress=False).losses

    torch.testing.assert_close(losses(y.to(dtype)), losses(y))
