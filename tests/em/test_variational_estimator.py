"""Variational Bayes behind scikit-learn's interface."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import BayesianGaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

from pyro_ugmm.em import BayesianGaussianMixtureEstimator

from .cases import clusters


@parametrize_with_checks([BayesianGaussianMixtureEstimator()])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_answers_are_scikit_learns(covariance_type):
    """A stick's depend on the order of the components, and so on the start."""
    x = np.random.default_rng(0).normal(size=(400, 3))
    x[:150] += 2
    settings = {
        "covariance_type": covariance_type,
        "weight_concentration_prior_type": "dirichlet_distribution",
        "max_iter": 3000,
        "tol": 1e-9,
        "random_state": 0,
        "mean_precision_prior": 0.1,
        "degrees_of_freedom_prior": 5,
    }
    theirs = BayesianGaussianMixture(n_components=2, reg_covar=0, **settings).fit(x)
    ours = BayesianGaussianMixtureEstimator(2, normalizer="scikit-learn", **settings).fit(x)
    order = ours.means_[:, 0].argsort()[theirs.means_[:, 0].argsort().argsort()]
    for name in ("weights_", "means_", "mean_precision_", "degrees_of_freedom_"):
        expected = np.broadcast_to(getattr(theirs, name), getattr(ours, name).shape)
        np.testing.assert_allclose(getattr(ours, name)[order], expected, rtol=1e-4, atol=1e-4)
    chances = theirs.predict_proba(x)
    assert ((chances > 0.01) & (chances < 0.99)).any()
    np.testing.assert_allclose(ours.predict_proba(x)[:, order], chances, atol=1e-4)
    is_clear = chances.max(1) > 0.501
    np.testing.assert_array_equal(ours.predict(x)[is_clear], order[theirs.predict(x)][is_clear])
    assert ours.lower_bound_ == ours.result_.lower_bound[-1] == ours.lower_bounds_[-1]


def test_a_fit_that_is_cut_off_warns():
    x = clusters(200).numpy()
    with pytest.warns(ConvergenceWarning, match="stopped after max_iter=1 iterations"):
        BayesianGaussianMixtureEstimator(5, max_iter=1, tol=0).fit(x)


def test_what_was_not_fitted_says_so():
    with pytest.raises(NotFittedError):
        BayesianGaussianMixtureEstimator().predict(np.zeros((2, 2)))
