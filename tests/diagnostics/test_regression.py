"""Quantiles and intervals of a regression's posterior predictive."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from pyro_ugmm.diagnostics import (
    prediction_intervals,
    predictive_mixture,
    predictive_quantiles,
)
from pyro_ugmm.diagnostics.conformal import conformal_tail
from pyro_ugmm.diagnostics.draws import posterior_draws
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.randomness import seeded
from pyro_ugmm.training import fit_mle
from tests.models.regressions import data, regressor, several

X, Y = data(12)
MANY = several(12)[1]


def drawn(y=Y, **options):
    """A model, and a guide with much spread."""
    model = regressor(y, Priors(), 5, **options)
    guide = mean_field(model, init_scale=0.5)
    guide(*model.example_rows())  # makes its parameters
    return model, guide


def test_it_is_the_mean_of_the_densities_under_draws():
    model, guide = drawn(MANY)
    found = predictive_mixture(model, guide, X, 30, seed=0)
    assert found.batch_shape == (12, 2) and found.n_components == 150
    with torch.no_grad(), seeded(0):
        draws = posterior_draws(model, guide, 30, (X,)).values
    under = model.mixture(X, draws)
    assert under.batch_shape == (30, 12, 2)
    expected = under.log_prob(MANY).logsumexp(0) - math.log(30)
    torch.testing.assert_close(found.log_prob(MANY), expected.detach())
    torch.testing.assert_close(found.mean, under.mean.mean(0).detach())


def test_quantiles_are_those_of_the_predictive_cdf():
    model, guide = drawn(Y.double(), dtype=torch.float64)
    mixture = predictive_mixture(model, guide, X.double(), 20, seed=0)
    q = np.array([0.001, 0.3, 0.999])
    found = predictive_quantiles(model, guide, X.double(), q, 20, seed=0).numpy()
    for row in range(3):
        weights, loc, scale = (
            getattr(mixture, name)[row].numpy() for name in ("probs", "loc", "scale")
        )
        for i, probability in enumerate(q):

            def distance(v, parts=(weights, loc, scale), probability=probability):
                return (parts[0] * stats.norm.cdf(v, parts[1], parts[2])).sum() - probability

            expected = optimize.brentq(distance, -1e5, 1e5, xtol=1e-10)
            assert found[i, row] == pytest.approx(expected, rel=1e-7)


def test_intervals_hold_their_share_of_draws():
    model, guide = drawn()
    low, high = prediction_intervals(model, guide, X, 0.8, 40, seed=0)
    mixture = predictive_mixture(model, guide, X, 40, seed=0)
    torch.testing.assert_close(mixture.cdf(high) - mixture.cdf(low), torch.full((12,), 0.8))
    torch.manual_seed(0)
    draws = mixture.sample((20_000,))
    share = ((draws > low) & (draws < high)).double().mean(0)
    assert (share - 0.8).abs().max() < 6 * math.sqrt(0.16 / 20_000)


@pytest.mark.parametrize("y", [Y, MANY])
def test_of_many_rows_block_by_block(y, monkeypatch):
    model, guide = drawn(y)
    expected = predictive_quantiles(model, guide, X, num_samples=10, seed=0)
    assert expected.shape == (3, *y.shape)
    monkeypatch.setattr("pyro_ugmm.diagnostics.regression.MOST_VALUES", 1)
    found = predictive_quantiles(model, guide, X, num_samples=10, seed=0)
    torch.testing.assert_close(found, expected)


def test_without_draws_it_is_the_models_own_without_dropout():
    model = regressor(Y, n_components=5, dropout=0.5)
    fit_mle(model, X, Y, steps=5, progress=False)
    found = predictive_mixture(model.train(), None, X)
    assert model.training and found.n_components == 5
    torch.testing.assert_close(found.log_prob(Y), model.eval().log_likelihood(X, Y))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: predictive_mixture(UGMMClassifier(UGMMNetwork([2, 3])), None, X),
            "model: expected a UGMMRegressor, got UGMMClassifier",
        ),
        (
            lambda: predictive_mixture(drawn()[0], None, X),
            "inference: expected a fitted guide or a sample, as the model has priors, got None",
        ),
        (lambda: predictive_mixture(regressor(Y), 3, X), "model: expected a model with priors"),
        (lambda: predictive_mixture(*drawn(), X[:, :1]), r"x: expected shape \(n, 2\)"),
        (lambda: predictive_mixture(*drawn(), X, 0), "num_samples: expected a positive integer"),
        (
            lambda: predictive_quantiles(*drawn(), X, [0.5, 1.0]),
            r"q: expected probabilities within",
        ),
        (lambda: predictive_quantiles(*drawn(), X, 0.5), r"q: expected shape \(Q,\), got \(\)"),
        (lambda: predictive_quantiles(*drawn(), X, [math.nan]), "q: expected probabilities"),
        (lambda: prediction_intervals(*drawn(), X, 1.0), "coverage: expected a probability within"),
        (lambda: prediction_intervals(*drawn(), X, "a"), "coverage: expected a probability within"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("y", [Y, MANY])
def test_conformal_intervals_hold_their_share_of_the_rows_held_back(y):
    """Exactly as many as the rank says; each output by itself."""
    model, guide = drawn(y)
    rest = {"num_samples": 20, "seed": 0}
    low, high = prediction_intervals(model, guide, X, 0.7, **rest, calibration=(X, y))
    slack = 1e-5 * y.std(0)  # the row on whose value an interval ends
    within = ((low <= y + slack) & (y - slack <= high)).sum(0)
    assert (within == math.ceil(13 * 0.7)).all()
    wider = prediction_intervals(model, guide, X, 0.9, **rest, calibration=(X, y))
    assert (wider[0] <= low).all() and (high <= wider[1]).all()


def test_conformal_intervals_hold_new_rows_whatever_the_model():
    """By a model that was never fitted, and is far too narrow or too wide."""
    torch.manual_seed(0)
    shares, n = [], 99
    for scale in (0.1, 10.0):
        model = regressor(Y, None)
        for _ in range(40):
            x = torch.randn(2 * n, X.shape[1])
            y = scale * torch.randn(2 * n)
            held_back = x[:n], y[:n]
            low, high = prediction_intervals(model, None, x[n:], 0.8, calibration=held_back)
            shares.append(((low <= y[n:]) & (y[n:] <= high)).double().mean())
    # Of each a beta distribution's mean is 0.8 and its standard deviation 0.04; rows add 0.04.
    assert abs(float(torch.stack(shares).mean()) - 0.8) < 6 * 0.057 / math.sqrt(80)


def test_the_quantile_is_that_of_the_rank():
    tails = torch.tensor([0.5, 0.1, 0.05, 0.3, 0.4, 0.2, 0.45, 0.35, 0.01])
    assert float(conformal_tail(tails, 0.9)) == pytest.approx(0.01)  # the last of nine
    assert float(conformal_tail(tails, 0.5)) == pytest.approx(0.3)  # the fifth


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        ((X[:8], Y[:8]), "calibration: expected at least 9 rows, for a coverage of 0.9, got 8"),
        (X, r"calibration: expected features and targets, \(x, y\), got Tensor"),
        ((X, None), "y: expected targets of the rows for calibration, got None"),
        ((X[:, :1], Y), "x: expected"),
    ],
)
def test_what_cannot_calibrate_is_refused(calibration, words):
    model, guide = drawn()
    with pytest.raises(ValueError, match=words):
        prediction_intervals(model, guide, X, calibration=calibration)
