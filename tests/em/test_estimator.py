"""scikit-learn's interface."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from pyro_ugmm.em import ConjugatePrior, EMFitter, StepwiseEM, initialize, select
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
    with pytest.raises(ValueError, match="init_params: expected one of 'kmeans', 'k-means"):
        GaussianMixtureEstimator(init_params="k").fit(x)
    with pytest.raises(ValueError, match="n_components=51"):
        GaussianMixtureEstimator(51).fit(x)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        GaussianMixtureEstimator(3, max_iter=1, random_state=0).fit(x)


def test_weights_are_rows_several_times():
    x, count = clusters(90).numpy(), np.arange(90) % 3
    options = {"means_init": x[:3], "tol": 0, "max_iter": 8, "reg_covar": 1e-4}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weighted = GaussianMixtureEstimator(3, **options).fit(x, sample_weight=count)
        repeated = GaussianMixtureEstimator(3, **options).fit(np.repeat(x, count, 0))
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-8)
    np.testing.assert_allclose(weighted.covariances_, repeated.covariances_, rtol=1e-7, atol=1e-9)


def test_a_prior_is_that_of_the_fitter():
    x = clusters(90)
    prior = ConjugatePrior(x.mean(0), torch.cov(x.T), mean_strength=1, covariance_strength=9)
    fitted = GaussianMixtureEstimator(3, prior=prior, means_init=x[:3].numpy()).fit(x.numpy())
    start = initialize(x, 3, means=x[:3], prior=prior)
    expected = EMFitter(prior=prior, progress=False).fit(x, start)
    np.testing.assert_array_equal(fitted.means_, expected.mixture.means.numpy())
    assert fitted.lower_bound_ == expected.objective


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_warm_start_goes_on():
    x, options = clusters(200).numpy(), {"tol": 0, "random_state": 0}
    whole = GaussianMixtureEstimator(4, max_iter=7, **options).fit(x)
    warm = GaussianMixtureEstimator(4, max_iter=3, warm_start=True, **options).fit(x)
    warm.set_params(max_iter=4).fit(x)
    np.testing.assert_allclose(warm.means_, whole.means_, rtol=1e-8)
    with pytest.raises(ValueError, match="warm_start: expected n_components=4 and full"):
        warm.set_params(n_components=3).fit(x)
    cold = GaussianMixtureEstimator(4, max_iter=3, **options)
    np.testing.assert_array_equal(cold.fit(x).means_, cold.fit(x).means_)


def test_without_iterations_the_best_start_comes_back():
    x = clusters(200).numpy()
    starts = initialize(torch.from_numpy(x), 3, method="random_from_data", n_init=6, seed=0)
    best = starts.log_prob(torch.from_numpy(x).unsqueeze(1)).mean(0)
    options = {"init_params": "random_from_data", "random_state": 0, "max_iter": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = GaussianMixtureEstimator(3, n_init=6, **options).fit(x)
    assert fitted.n_iter_ == 0 and not fitted.converged_
    assert fitted.lower_bound_ == pytest.approx(fitted.score(x))
    result = EMFitter(max_iter=0, progress=False).fit(torch.from_numpy(x), starts)
    torch.testing.assert_close(result.restarts, best)
    assert result.log_likelihood == pytest.approx(best.max().item())
    assert "max_iter=0" in result.reason and len(result.history) == 0


def test_starts_have_scikit_learns_names():
    x = clusters(200, n_clusters=3).numpy()

    def begun(method):
        options = {"init_params": method, "random_state": 0, "max_iter": 0}
        return GaussianMixtureEstimator(3, **options).fit(x)

    for method in ("k-means++", "random_from_data"):
        assert all((x == mean).all(1).any() for mean in begun(method).means_)
    np.testing.assert_allclose(begun("random").weights_, 1 / 3, atol=0.1)
    spread = {m: np.linalg.norm(np.diff(begun(m).means_, axis=0)) for m in ("k-means++", "random")}
    assert spread["random"] < 0.5 * spread["k-means++"]
    assert begun("kmeans").lower_bound_ > begun("random").lower_bound_


def test_what_is_printed(capsys):
    x = clusters(200).numpy()
    options = {"random_state": 0, "tol": 1e-9, "max_iter": 7, "verbose_interval": 3}
    with pytest.warns(ConvergenceWarning):
        GaussianMixtureEstimator(4, verbose=1, n_init=2, **options).fit(x)
    expected = ["Initializations: 2", "  Iteration 3", "  Iteration 6"]
    assert capsys.readouterr().out.splitlines() == expected
    with pytest.warns(ConvergenceWarning):
        fitted = GaussianMixtureEstimator(4, verbose=2, **options).fit(x)
    line = capsys.readouterr().out.splitlines()[1]
    before, after = fitted.lower_bounds_[2:4]
    assert f"lower bound {after:.5f}" in line and f"ll change {after - before:.5f}" in line


def test_partial_fit_is_stepwise_em():
    x = clusters(300)
    fitted = GaussianMixtureEstimator(3, random_state=0, max_iter=1, batch_size=100)
    with pytest.warns(ConvergenceWarning):
        step = fitted.fit(x.numpy()).means_
    em = GaussianMixtureEstimator(3, random_state=0, batch_size=100).partial_fit(x.numpy())
    np.testing.assert_allclose(em.means_, step, rtol=1e-9)
    assert em.n_iter_ == 1 and em.predict(x.numpy()).shape == (300,)
    again = pickle.loads(pickle.dumps(em))
    for rows in x.split(75):
        em.partial_fit(rows.numpy())
        again.partial_fit(rows.numpy().astype(np.float32))
    assert em.n_iter_ == 3
    np.testing.assert_allclose(again.means_, em.means_, rtol=1e-3)
    # After a fit, what was fitted counts as many rows.
    fitted.partial_fit(x[:100].numpy(), sample_weight=np.full(100, 2.0))
    mixture = GaussianMixtureEstimator(3, random_state=0, max_iter=1).fit(x.numpy()).mixture_
    algorithm = StepwiseEM(batch_size=100)
    state = algorithm.step(algorithm.init(mixture, 300), x[:100], torch.full((100,), 2.0).double())
    np.testing.assert_allclose(fitted.means_, state.mixture.means.numpy(), rtol=1e-9)
    assert fitted.lower_bound_ == pytest.approx(mixture.log_prob(x[:100]).mean().item())
    with pytest.raises(ValueError, match="X has 2 features, but"):
        em.partial_fit(x[:, :2].numpy())
    with pytest.raises(ValueError, match="at least 3 rows"):
        GaussianMixtureEstimator(3).partial_fit(x[:2].numpy())


def test_few_rows_at_a_time_and_wrong_ones():
    """Rows that scikit-learn need not check are the same rows; others have its words."""
    x = clusters(60).numpy()
    fitted = GaussianMixtureEstimator(3, random_state=0).fit(x)
    theirs = fitted.mixture_.to_sklearn()
    for name in ("predict", "predict_proba", "score_samples"):
        rows = [getattr(fitted, name)(x[i : i + 1])[0] for i in range(60)]
        np.testing.assert_allclose(rows, getattr(theirs, name)(x), rtol=1e-8, atol=1e-12)
    fitted.mixture_.means.add_(1.0)
    np.testing.assert_allclose(fitted.score_samples(x[:1] + 1), theirs.score_samples(x[:1]))
    wrong = {
        "contains NaN": np.full((1, 3), np.nan),
        "contains infinity": np.full((1, 3), np.inf),
        "minimum of 1 is required": x[:0],
        "Expected 2D array": x[0],
        "X has 2 features": x[:1, :2],
        "Complex data": x[:1] * 1j,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for words, rows in wrong.items():
            with pytest.raises(ValueError, match=words):
                fitted.predict(rows)
        large = np.full((9, 3), 0.5 * np.finfo(np.float64).max)
        assert (fitted.predict(large) == fitted.predict(large[:1])).all()


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
