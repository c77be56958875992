"""Stacking against scipy, and leave-one-out scores against a closed form."""

import numpy as np
import scipy.optimize
import scipy.stats
import torch

from pyro_ugmm.optimization.stacking import leave_one_out_scores, stacking_weights


def test_weights_are_the_best_that_scipy_finds():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(60, 4)) - np.array([0.0, 0.2, 0.1, 3.0])

    def loss(weights):
        return -np.log(np.exp(scores) @ weights).sum()

    best = scipy.optimize.minimize(
        loss,
        np.full(4, 0.25),
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-12},
    )
    weights = stacking_weights(torch.tensor(scores)).numpy()
    assert abs(weights.sum() - 1) < 1e-9
    assert loss(weights) <= best.fun + 1e-6
    np.testing.assert_allclose(weights, best.x, atol=1e-3)


def test_rows_that_no_part_can_predict_do_not_count():
    scores = torch.tensor([[-1.0, -3.0], [-np.inf, -np.inf], [np.nan, np.nan]])
    assert stacking_weights(scores)[0] > 0.99


def test_scores_are_those_of_normal_rows_left_out():
    """Rows of unit variance around a mean with a normal prior of variance 10."""
    y = scipy.stats.norm(1.0, 1.0).rvs(20, random_state=1)

    def posterior(rows):
        precision = 1 / 10 + len(rows)
        return rows.sum() / precision, 1 / precision

    mean, variance = posterior(y)
    draws = scipy.stats.norm(mean, variance**0.5).rvs(20000, random_state=2)
    log_likelihood = scipy.stats.norm.logpdf(y, draws[:, None], 1.0)
    expected = []
    for i in range(len(y)):
        mean, variance = posterior(np.delete(y, i))
        expected.append(scipy.stats.norm.logpdf(y[i], mean, (1 + variance) ** 0.5))
    found = leave_one_out_scores(torch.tensor(log_likelihood)).numpy()
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert np.abs(log_likelihood.mean(0) - expected).max() > 0.1  # which in-sample scores miss
