"""Bayesian mixtures of rows of which more is known: their component, or their errors."""

import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive
from torch.distributions import MultivariateNormal

from pyro_ugmm.diagnostics import loo, to_inference_data
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.saving import load_fitted, save_fitted
from pyro_ugmm.training import fit_svi
from tests.diagnostics.arviz_words import TOTAL
from tests.models.mixtures import rank_in

STRUCTURES = ("full", "tied", "diagonal", "spherical", "low_rank")
FEW = {"num_particles": 64, "most_moves": 6, "seed": 0, "progress": False}


def rows(n_rows=12, n_features=2):
    label = torch.arange(n_rows) % 2
    x = 4.0 * label.unsqueeze(1) + torch.randn(n_rows, n_features, dtype=torch.float64)
    return x, label


def knowledge(given, x, label):
    known = torch.where(torch.arange(len(x)) % 3 < 2, label, -1)
    variances = torch.rand(x.shape, dtype=torch.float64)
    return {"labels": known, "noise": variances, "covariances": variances.diag_embed()}[given]


def model_for(given, x, covariance="full"):
    given = "noise" if given == "covariances" else given
    priors = Priors.from_data(x)
    options = {"given": given, "rank": rank_in(covariance)}
    return BayesianGaussianMixture(2, x.shape[1], covariance, priors, **options).double()


@pytest.mark.parametrize("covariance", STRUCTURES)
@pytest.mark.parametrize("given", ["labels", "noise", "covariances"])
@pytest.mark.parametrize("n_features", [1, 2])
def test_rows_by_hand(covariance, given, n_features):
    x, label = rows(n_features=n_features)
    model, known = model_for(given, x, covariance), knowledge(given, x, label)
    traces = [poutine.trace(model).get_trace(x, known) for _ in range(3)]
    draws = {
        name: torch.stack([trace.nodes[name]["value"] for trace in traces])
        for name in model.site_distributions()
    }
    found = model.log_likelihood(x, known, draws=draws)
    for s, trace in enumerate(traces):
        trace.compute_log_prob()
        torch.testing.assert_close(found[s], trace.nodes["x"]["log_prob"])
        mixture = model.mixture({name: value[s] for name, value in draws.items()})
        matrices = mixture.covariance.dense(2, n_features)
        if given == "labels":
            joint = MultivariateNormal(mixture.means, matrices).log_prob(x.unsqueeze(1))
            joint = joint + mixture.weights.log()
            of_label = joint[range(len(x)), known.clamp(min=0)]
            expected = torch.where(known >= 0, of_label, joint.logsumexp(-1))
        else:
            noise = known if given == "covariances" else known.diag_embed()
            normal = MultivariateNormal(mixture.means, matrices + noise.unsqueeze(1))
            expected = (normal.log_prob(x.unsqueeze(1)) + mixture.weights.log()).logsumexp(-1)
        torch.testing.assert_close(found[s], expected)


@pytest.mark.parametrize("given", ["labels", "noise"])
def test_the_ways_to_a_posterior(given, tmp_path):
    x, label = rows(40)
    model, known = model_for(given, x, "diagonal"), knowledge(given, x, label)
    sample = sample_posterior(model, x, known, **FEW)
    idata = to_inference_data(model, sample, x, known)
    assert idata.constant_data[given].shape == known.shape
    assert idata.posterior_predictive["x"].shape[-2:] == (40, 2)
    assert loo(idata)[TOTAL] < 0
    guide = mean_field(model, start=model.draw_start(x, known))
    result = fit_svi(model, guide, x, known, steps=20, batch_size=10, progress=False)
    assert torch.as_tensor(result.losses).isfinite().all()
    save_fitted(tmp_path / "fitted", model, guide)
    again, _ = load_fitted(tmp_path / "fitted")
    assert again.given == given


def test_labels_tell_the_components_apart():
    """Their order is then known: all draws have the first one's mean first."""
    x, label = rows(30)
    known = torch.where(torch.arange(30) < 6, label, -1)
    sample = sample_posterior(model_for("labels", x, "diagonal"), x, known, **FEW)
    means = sample.draws["means"].mean(-1)
    assert (means[:, 0] < means[:, 1]).double().mean() > 0.99


def test_errors_leave_what_the_rows_vary_by():
    """Where all that is seen is error, the component is narrow; without it, as wide as that."""
    x = torch.randn(60, 1, dtype=torch.float64)
    priors = Priors.from_data(x)
    noise = torch.ones_like(x)
    plain = BayesianGaussianMixture(1, 1, priors=priors).double()
    measured = BayesianGaussianMixture(1, 1, priors=priors, given="noise").double()
    widths = [
        float(sample_posterior(model, x, *known, **FEW).draws["variances"].median())
        for model, known in ((plain, ()), (measured, (noise,)))
    ]
    assert widths[0] > 0.6 and widths[1] < 0.5 * widths[0]


X, LABEL = rows()


def model(given):
    return model_for(given, X)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: model("names"), r"given: expected one of \[None, 'labels', 'noise'\]"),
        (lambda: model("labels")(X), "y: expected labels, as the model has given='labels'"),
        (lambda: model("noise")(X), "y: expected variances or covariances, as it has given"),
        (lambda: model(None)(X, LABEL), "y: expected nothing: a mixture has no labels .given="),
        (lambda: model("labels")(X, LABEL + 1), "y: expected integers from 0 to 1, and -1"),
        (lambda: model("labels")(X, LABEL[1:]), r"y: expected shape \(12,\), as x has rows"),
        (lambda: model("noise")(X, -X.square()), "y: expected non-negative variances"),
        (lambda: model("noise")(X, X[1:]), r"y: expected variances of shape \(12, 2\)"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("given", ["labels", "noise", "covariances"])
def test_rows_are_drawn_without_data(given):
    """Of which nothing is known; or as y says."""
    x, label = rows(30)
    model, known = model_for(given, x), knowledge(given, x, label)
    assert model().shape == (1, 2) and model(size=5).shape == (5, 2)
    assert model(None, known).shape == model(None, known, size=30).shape == (30, 2)
    assert model(y=known.numpy()).shape == (30, 2)
    draws = model.sample_prior(4)
    found = Predictive(model, draws)(None, known)["x"]
    assert found.shape == (4, 30, 2) and found.isfinite().all()
    with pytest.raises(ValueError, match="size: expected 30, as y is of so many rows, got 5"):
        model(None, known, size=5)
    with pytest.raises(ValueError, match="y: expected"):
        model(None, 3.0)


def test_rows_that_are_drawn_are_of_their_label():
    x, label = rows(200)
    model = model_for("labels", x, "diagonal")
    draws = {
        "weights": torch.tensor([0.5, 0.5]),
        "means": torch.tensor([[-50.0, 0.0], [50.0, 0.0]]),
        "variances": torch.ones(2, 2),
    }
    conditioned = poutine.condition(model, {k: v.double() for k, v in draws.items()})
    assert torch.equal((conditioned(None, label)[:, 0] > 0).long(), label)


@pytest.mark.parametrize("given", [None, "labels"])
def test_the_representation_says_what_is_given(given):
    assert (f"given={given!r}" in repr(model(given))) is (given is not None)


def test_variances_of_errors_leave_a_diagonal_mixture_diagonal():
    x, label = rows(n_features=12)  # as many rows as features: no matrices
    model = model_for("noise", x, "diagonal")
    known = knowledge("noise", x, label)
    draws = {name: value[0] for name, value in model.sample_prior(1).items()}
    assert model.observation(draws, x, known).covariance.name == "diagonal"
    matrices = model.mixture(draws).covariance.dense(2, 12) + known.diag_embed().unsqueeze(1)
    found = model.observation(draws, x, known).covariance.dense(2, 12)
    torch.testing.assert_close(found, matrices)
