"""What held-out rows say of an ensemble, beside what they say computed by hand."""

import math

import pytest
import torch

from pyro_ugmm.diagnostics import calibration, judge_ensemble
from pyro_ugmm.guides import full_rank
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_mle, fit_svi

X = torch.randn(80, 2, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).long()
QUIET = {"seed": 0, "progress": False}


def test_models_of_maximum_likelihood():
    model = UGMMClassifier(UGMMNetwork([2, 3, 2]))
    ensemble = fit_mle(model, X[:40], Y[:40], steps=60, num_starts=3, **QUIET)
    x, y = X[40:], Y[40:]
    found = judge_ensemble(ensemble, x, y)
    with torch.no_grad():
        each = torch.stack([fit.model.network(x).softmax(-1) for fit in ensemble.fits]).double()
    mean, at = each.mean(0), torch.arange(40)
    scores = mean[at, y].log()
    gain = scores - each[0, at, y].log()
    assert found.log_score == pytest.approx(float(scores.mean()), rel=1e-4)
    assert found.gain == pytest.approx(float(gain.mean()), abs=1e-5)
    assert found.gain_error == pytest.approx(float(gain.std() / 40**0.5), rel=1e-3)
    assert found.calibration_error == pytest.approx(calibration(mean, y, n_bins=10).error)
    classes = each.argmax(-1)
    pairs = [(classes[i] == classes[j]).double().mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found.agreement == pytest.approx(float(sum(pairs) / 3))
    assert "nats a row" in found.reason and "of the rows" in found.reason


def test_guides_of_a_mixture():
    """The mixture's score is no less than the weighted scores (Jensen)."""
    model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(X))
    ensemble = fit_svi(model, full_rank, X[:60], steps=60, num_starts=2, **QUIET)
    found = judge_ensemble(ensemble, X[60:], seed=0)
    counted = ensemble.weights > 0
    weighted = (ensemble.weights.double() * found.log_scores)[counted].sum()
    assert found.log_score >= float(weighted) - 1e-6
    assert math.isnan(found.agreement) and math.isnan(found.calibration_error)
    assert "class" not in found.reason


def test_what_has_no_verdict_is_refused():
    model = UGMMClassifier(UGMMNetwork([2, 3, 2]))
    one = fit_mle(model, X, Y, steps=5, **QUIET)
    with pytest.raises(ValueError, match="ensemble: expected an Ensemble, of several starts"):
        judge_ensemble(one, X, Y)
    score = UGMMDensity(UGMMNetwork([3, 3, 1]), 2, objective="score")
    several = fit_mle(score, X, Y, steps=5, num_starts=2, **QUIET)
    with pytest.raises(ValueError, match="model: expected one with a likelihood"):
        judge_ensemble(several, X, Y)
