"""scikit-learn's interface."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from pyro_ugmm.em import EMFitter, select
from pyro_ugmm.em.estimator import GaussianMixtureEstimator

from .cases import clusters

ATTRIBUTES = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


@parametrize_with_checks([GaussianMixtureEstimator()])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_equals_scikit_learns_mixture(covariance_type):
    x = clusters(600).numpy()
    begun = SklearnMixture(3, covariance_type=covariance_type, max_iter=1, random_state=0, tol=0)
    with pytest.warns(ConvergenceWarning):
        begun.fit(x)
    start = {
        f"{name}_init": getattr(begun, f"{name}_") for name in ("weights", "means", "precisions")
    }
    ours = GaussianMixtureEstimator(3, covariance_type=covariance_type, **start).fit(x)
    theirs = SklearnMixture(3, covariance_type=covariance_type, **start).fit(x)
    for name in ATTRIBUTES:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7, atol=1e-9)
    for name in ("score_samples", "predict_proba", "predict", "bic", "aic", "score"):
        a, b = getattr(ours, name)(x), getattr(theirs, name)(x)
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)
    assert (ours.converged_, ours.n_iter_) == (theirs.converged_, theirs.n_iter_)
    assert ours.lower_bounds_[-1] == pytest.approx(theirs.lower_bound_, abs=1e-10)
    assert ours.lower_bound_ == pytest.approx(ours.score(x), abs=1e-10)


def test_in_a_pipeline_and_a_search():
    x = clusters(300, n_clusters=3, seed=3).float().numpy()
    pipeline = make_pipeline(StandardScaler(), GaussianMixtureEstimator(random_state=0, n_init=3))
    search = GridSearchCV(pipeline, {"gaussianmixtureestimator__n_components": [1, 2, 3]})
    search.fit(x)
    assert search.best_params_ == {"gaussianmixtureestimator__n_components": 3}
    assert search.predict(x).shape == (300,)


def test_samples_and_pickles():
    x = clusters(200).numpy()
    fitted = GaussianMixtureEstimator(2, random_state=1).fit(x)
    rows, component = fitted.sample(500)
    assert rows.shape == (500, 3) and set(component) == {0, 1}
    np.testing.assert_array_equal(rows, fitted.sample(500)[0])
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(x), fitted.score_samples(x))
    assert again.result_.reason == fitted.result_.reason


def test_errors_and_warnings():
    x = clusters(50).numpy()
    with pytest.raises(NotFittedError):
        GaussianMixtureEstimator().predict(x)
    with pytest.raises(ValueError, match="covariance_type: expected one of"):
        GaussianMixtureEstimator(covariance_type="round").fit(x)
    with pytest.raises(ValueError, match="init_params: expected one of 'kmeans', 'random"):
        GaussianMixtureEstimator(init_params="k").fit(x)
    with pytest.raises(ValueError, match="n_components=51"):
        GaussianMixtureEstimator(51).fit(x)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        GaussianMixtureEstimator(3, max_iter=1, random_state=0).fit(x)


def test_selection_finds_the_clusters():
    centers = torch.tensor([[0.0, 0], [8, 0], [0, 8]])
    x = (centers[torch.arange(300) % 3] + torch.randn(300, 2)).double()
    selection = select(x, range(1, 6), ["full", "spherical"], seed=0, n_init=2)
    assert selection.best.n_components == 3
    for row in selection.table:
        theirs = row.result.mixture.to_sklearn()
        assert row.bic == pytest.approx(theirs.bic(x.numpy()), rel=1e-10)
        assert row.aic == pytest.approx(theirs.aic(x.numpy()), rel=1e-10)
        r = theirs.predict_proba(x.numpy())
        entropy = -np.sum(r * np.log(np.maximum(r, 1e-300)))
        assert row.icl == pytest.approx(row.bic + 2 * entropy, rel=1e-8)
    assert "best by bic" in repr(selection)
    assert (
        min(row.icl for row in selection.table)
        == select(
            x,
            [selection.best.n_components],
            selection.best.covariance,
            criterion="icl",
            seed=0,
            n_init=2,
        ).best.icl
    )
    axes = selection.plot()
    assert axes.get_ylabel().startswith("BIC")


def test_selection_says_what_is_wrong():
    x = clusters(50)
    with pytest.raises(ValueError, match="criterion: expected one of"):
        select(x, criterion="waic")
    with pytest.raises(ValueError, match="n_components: expected at least one"):
        select(x, [])
    short = select(x, [3], fitter=EMFitter(max_iter=1, progress=False), seed=0)
    assert "not converged" in repr(short)


def test_selection_does_not_prefer_a_collapsed_fit():
    """Forty rows are the same, and a component that sits on them has a density without bound."""
    x = clusters(160, n_clusters=2)
    x = torch.cat([x, x[:1].expand(40, -1)])
    fitter = EMFitter(max_iter=500, progress=False)
    selection = select(x, range(1, 5), fitter=fitter, n_init=10, seed=0)
    lowest = min(selection.table, key=lambda row: row.bic)
    assert lowest.unsound == ("collapsed",) and lowest is not selection.best
    assert not selection.best.unsound
    marked = [line for line in repr(selection).splitlines() if line.endswith("collapsed")]
    assert len(marked) == sum(bool(row.unsound) for row in selection.table)
    alone = select(x, [lowest.n_components], fitter=fitter, n_init=10, seed=0)
    assert alone.best.unsound  # there is no other
