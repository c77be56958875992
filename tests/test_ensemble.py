"""Fits from several starts: which count, how much, and what takes them."""

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDelta

from pyro_ugmm.diagnostics import class_probabilities, to_inference_data
from pyro_ugmm.guides import MixtureGuide, full_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.status import Status
from pyro_ugmm.training import Ensemble, fit_mle, fit_svi

X = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
QUIET = {"seed": 0, "progress": False}


def classifier(priors=None):
    return UGMMClassifier(UGMMNetwork([2, 4, 2]), priors)


def test_models_of_an_ensemble_start_elsewhere_and_count_alike():
    model = classifier()
    result = fit_mle(model, X, Y, steps=40, num_starts=3, **QUIET)
    assert isinstance(result, Ensemble) and result.model is model is result.fits[0].model
    torch.testing.assert_close(result.weights, torch.full((3,), 1 / 3))
    locs = [fit.model.network.layers[0].loc for fit in result.fits]
    assert all((locs[0] - other).abs().max() > 0.1 for other in locs[1:])
    expected = torch.stack([fit.model.network(X).softmax(-1) for fit in result.fits])
    torch.testing.assert_close(class_probabilities(model, result, X), expected)


def test_one_seed_gives_one_ensemble():
    model = classifier()
    first, second = (
        fit_mle(
            copy.deepcopy(model),
            X,
            Y,
            steps=5,
            num_starts=2,
            **QUIET,
        )
        for _ in range(2)
    )
    for one, other in zip(first.fits, second.fits, strict=True):
        assert torch.equal(one.losses, other.losses)


@pytest.mark.parametrize("made", [True, False])
def test_guides_of_an_ensemble_share_draws_by_their_weights(made):
    model = classifier(Priors(weights=1.0))
    guide = mean_field(model) if made else mean_field
    result = fit_svi(model, guide, X, Y, steps=40, num_starts=2, **QUIET)
    assert len(result.fits) == 2 and abs(float(result.weights.sum()) - 1) < 1e-5
    assert isinstance(result.guide, MixtureGuide)
    probabilities = class_probabilities(model, result, X, num_samples=50, seed=0)
    assert probabilities.shape == (50, 40, 2)
    idata = to_inference_data(model, result, X, Y, num_samples=100, seed=0)
    assert idata.posterior.attrs["guide"] == "MixtureGuide"


def test_what_each_start_learns_for_itself_has_no_common_guide():
    model = classifier(Priors())
    result = fit_svi(model, mean_field(model), X, Y, steps=20, num_starts=2, **QUIET)
    assert result.guide is None
    assert class_probabilities(model, result, X, num_samples=20).shape[1:] == (40, 2)
    with pytest.raises(ValueError, match=r"inference: expected an ensemble of one model's guides"):
        to_inference_data(model, result, X, Y)


@pytest.mark.parametrize("fit", [fit_mle, fit_svi])
def test_a_start_that_breaks_down_does_not_count(fit, monkeypatch):
    draw, calls = UGMMClassifier.draw_start, []

    def second_breaks(self, *rows):
        start = draw(self, *rows)
        calls.append(1)
        if len(calls) == 2:
            start.layers[0].loc.data.fill_(1e30)
        return start

    monkeypatch.setattr(UGMMClassifier, "draw_start", second_breaks)
    model = classifier(Priors(weights=1.0) if fit is fit_svi else None)
    guide = (mean_field(model),) if fit is fit_svi else ()
    result = fit(model, *guide, X, Y, steps=30, num_starts=4, **QUIET)
    assert [one.status is Status.BROKEN_DOWN for one in result.fits] == [False, False, True, False]
    assert result.weights[2] == 0 and result.weights.sum() > 0.99
    assert "start 2 broke down: the loss became" in result.reason
    assert result.status is not Status.BROKEN_DOWN
    assert class_probabilities(model, result, X, num_samples=30).isfinite().all()


def test_an_ensemble_of_broken_starts_says_so(monkeypatch):
    model = classifier()
    model.network.layers[0].loc.data.fill_(1e30)
    monkeypatch.setattr(UGMMClassifier, "draw_start", lambda self, *rows: self.network)
    result = fit_mle(model, X, Y, steps=5, num_starts=2, **QUIET)
    assert result.status is Status.BROKEN_DOWN and not result.weights.any()
    with pytest.raises(ValueError, match="ensemble: expected a start that did not break down"):
        class_probabilities(model, result, X)
    assert "start 0 broke down" in result.reason and "start 1 broke down" in result.reason


def test_stacking_drops_a_start_that_is_worse():
    """Rows far apart: a guide whose two components share a cluster predicts worse."""
    x = torch.cat([0.3 * X - 4, 0.3 * X + 4])
    model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(x))
    poor = {"means": [[-4.0, -4.0], [-4.2, -4.2]], "weights": [0.98, 0.02]}

    def make_guide(model, start=None):
        if start is None:
            start = model.draw_start(x)
            start = type(start)(
                torch.tensor(poor["weights"]), torch.tensor(poor["means"]), start.covariance
            )
        return full_rank(model, start=start, init_scale=0.01)

    options = {"steps": 20, "learning_rate": 1e-4, "num_starts": 2}
    result = fit_svi(model, make_guide, x, **options, **QUIET)
    assert result.weights[1] > 0.95


def plain(x):
    theta = pyro.sample("theta", dist.Normal(0.0, 3.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(theta**2, 0.5).expand([len(x)]), obs=x)


def test_a_plain_program_starts_from_its_prior():
    def make_guide(model, start=None):
        return mean_field(plain, start=start or {"theta": 1.0})

    x = torch.full((3,), 4.0)
    result = fit_svi(plain, make_guide, x, steps=200, num_starts=8, **QUIET)
    means = torch.stack([fit.guide.median(x)["theta"] for fit in result.fits])
    assert ((means.abs() - 2).abs() < 0.3).sum() > 5  # steps are few for a start far out
    assert (means > 0).any() and (means < 0).any()  # both modes
    idata = to_inference_data(plain, result, x, num_samples=100, seed=0)
    assert idata.posterior["theta"].shape == (1, 100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_starts": 0}, "num_starts: expected a positive integer"),
        ({"num_starts": 2, "checkpoint": "run.pt"}, "checkpoint: expected None for several starts"),
        ({"guide": AutoDelta, "num_starts": 2}, "guide: expected for several starts, a guide of"),
        (
            {"guide": lambda x, y: None, "num_starts": 2},
            r"guide: .* got a function of \['x', 'y'\]",
        ),
    ],
)
def test_what_cannot_be_fitted_is_said_before_anything_runs(arguments, message):
    model = classifier(Priors())
    guide = arguments.pop("guide", mean_field)
    guide = guide(model) if guide is AutoDelta else guide
    with pytest.raises(ValueError, match=message):
        fit_svi(model, guide, X, Y, steps=5, **arguments, **QUIET)


def test_a_program_without_other_starts_is_refused():
    def model(x):
        loc = pyro.param("loc", torch.zeros(()))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    with pytest.raises(ValueError, match="num_starts: expected 1, as the model is a program"):
        fit_mle(model, X[:, 0], steps=5, num_starts=2, **QUIET)
