"""EM on partly observed rows."""

import numpy as np
import pytest
import torch
from sklearn.utils import get_tags

from pyro_ugmm.distributions import GaussianMixture
from pyro_ugmm.distributions.covariance import STRUCTURES
from pyro_ugmm.em import EMFitter, GaussianMixtureEstimator, initialize, select

from .cases import STRUCTURE_NAMES, assert_same, clusters, initialized

structures = pytest.mark.parametrize("structure", STRUCTURE_NAMES)
n_components = pytest.mark.parametrize("n_components", [2, 12])


def fitter(**settings):
    return EMFitter(**{"tol": 0, "progress": False, "missing": "marginalize", **settings})


def with_holes(x, share, seed=0):
    generator = torch.Generator().manual_seed(seed)
    holes = torch.rand(x.shape, generator=generator) < share
    keep = torch.randint(x.shape[1], (len(x),), generator=generator)
    holes[torch.arange(len(x)), keep] = False
    return x.masked_fill(holes, torch.nan)


@structures
@n_components
def test_equals_complete_data_when_nothing_is_missing(structure, n_components):
    x = clusters(300)
    start = initialized(x, n_components, structure, seed=0)
    settings = {"max_iter": 10}
    complete = fitter(missing="error", **settings).fit(x, start)
    assert_same(fitter(**settings).fit(x, start).mixture, complete.mixture, rtol=1e-9)


@structures
@n_components
def test_one_missing_entry_hardly_matters(structure, n_components):
    """Rows with and without holes go different ways; both must lead to the same place."""
    x = clusters(2000)
    start = initialized(x, n_components, structure, seed=0)
    complete = fitter(max_iter=5).fit(x, start)
    x[7, 1] = torch.nan
    nearly = fitter(max_iter=5).fit(x, start)
    assert abs(nearly.log_likelihood - complete.log_likelihood) < 0.01
    assert_same(nearly.mixture, complete.mixture, rtol=0.1, atol=0.1)


@structures
@n_components
def test_the_log_likelihood_never_falls(structure, n_components):
    x = with_holes(clusters(400), 0.3)
    start = initialized(x, n_components, structure, seed=0, missing="marginalize")
    result = fitter(max_iter=40, reg_covar=0).fit(x, start)
    assert result.history.diff().min() > -1e-11
    expected = result.mixture.log_prob(x).mean().item()
    assert result.log_likelihood == pytest.approx(expected, abs=1e-11)


def test_one_gaussian_has_the_maximum_likelihood_of_its_marginals():
    """At the maximum the gradient of the rows' exact marginal densities vanishes."""
    x = with_holes(clusters(200, n_clusters=1), 0.4)
    start = initialize(x, 1, missing="marginalize")
    result = fitter(max_iter=2000, reg_covar=0).fit(x, start)
    means = result.mixture.means.clone().requires_grad_()
    values = result.mixture.covariance.values.clone().requires_grad_()
    log_density = sum(
        torch.distributions.MultivariateNormal(means[0, seen], values[0][seen][:, seen]).log_prob(
            row[seen]
        )
        for row in x
        for seen in [~row.isnan()]
    )
    log_density.backward()
    assert means.grad.abs().max() < 1e-6 and values.grad.abs().max() < 1e-6


@pytest.mark.parametrize("structure", ["full", "diagonal"])
def test_beats_imputation_by_the_mean(structure):
    differences = []
    for seed in range(5):
        x = clusters(2000, n_features=4, seed=seed)
        x, held_out = x[:1000], x[1000:]
        holes = with_holes(x, 0.5, seed)
        exact = initialized(holes, 4, structure, seed=0, missing="marginalize")
        filled = torch.where(holes.isnan(), holes.nanmean(0), holes)
        ours = fitter(max_iter=200, tol=1e-5).fit(holes, exact).mixture
        theirs = fitter(max_iter=200, tol=1e-5).fit(
            filled, initialized(filled, 4, structure, seed=0)
        )
        gain = ours.log_prob(held_out).mean() - theirs.mixture.log_prob(held_out).mean()
        differences.append(gain.item())
    assert np.median(differences) > 0.3, differences


@structures
def test_weights_are_repetitions(structure):
    x = with_holes(clusters(200), 0.3)
    start = initialized(x, 3, structure, seed=0, missing="marginalize")
    count = torch.randint(0, 3, (len(x),))
    weighted = fitter(max_iter=10).fit(x, start, count.double())
    repeated = fitter(max_iter=10).fit(x.repeat_interleave(count, 0), start)
    assert_same(weighted.mixture, repeated.mixture, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("structure", ["full", "tied"])
@pytest.mark.parametrize("seed", range(10, 16))
def test_nearly_singular_covariances(structure, seed):
    """What is observed of a row has a covariance that only rounding keeps from being singular."""
    torch.manual_seed(seed)
    for scale in (100, 1e4):
        x = torch.randn(40, 2) @ torch.randn(2, 8) * scale * 10 ** torch.empty(8).uniform_(-2, 2)
        x[torch.rand_like(x) < 0.3] = torch.nan
        x = x[~x.isnan().all(1)]
        start = initialized(x, 3, structure, seed=0, missing="marginalize")
        result = EMFitter(progress=False).fit(x, start)
        assert result.mixture.log_prob(x).isfinite().all()


@structures
def test_restarts_blocks_and_a_whole_agree(structure):
    x = with_holes(clusters(300), 0.3)
    starts = initialized(
        x, 3, structure, method="random_from_data", n_init=3, seed=0, missing="marginalize"
    )
    whole = fitter(max_iter=5).fit(x, starts)
    blocks = fitter(max_iter=5).fit(list(x.split(37)), starts)
    assert_same(whole.mixture, blocks.mixture, rtol=1e-9, atol=1e-10)


@structures
def test_the_start_says_what_nan_means_unless_the_fitter_does(structure):
    x = with_holes(clusters(100), 0.2)
    start = initialized(x, 2, structure, seed=0, missing="marginalize")
    result = EMFitter(max_iter=3, progress=False).fit(x, start)
    assert result.mixture.missing == "marginalize"
    plain = GaussianMixture(start.weights, start.means, start.covariance)
    with pytest.raises(ValueError, match="nan in row"):
        EMFitter(progress=False).fit(x, plain)
    assert isinstance(result.mixture.covariance, STRUCTURES[structure])


@structures
def test_by_hand_missing_entries_stay_allowed(structure):
    x = with_holes(clusters(200), 0.3)
    start = initialized(x, 2, structure, seed=0, missing="marginalize")
    step, mixture = EMFitter(), start
    for _ in range(3):
        mixture = step.m_step(sum(step.e_step(part, mixture) for part in x.split(70)))
    expected = EMFitter(tol=0, max_iter=3, progress=False).fit(x, start)
    assert_same(mixture, expected.mixture, rtol=1e-9, atol=1e-10)
    assert mixture.missing == "marginalize"


def test_the_support_has_rows_of_which_something_was_observed():
    x = clusters(20)
    mixture = initialize(x, 2, seed=0)
    marginalizing = GaussianMixture(
        mixture.weights, mixture.means, mixture.covariance, missing="marginalize"
    )
    rows = x[:3].clone()
    rows[1, 0], rows[2] = torch.nan, torch.nan
    assert marginalizing.support.check(rows).tolist() == [True, True, False]
    assert mixture.support.check(rows).tolist() == [True, False, False]


def test_selection_and_the_estimator_take_missing_entries():
    x = with_holes(clusters(300, n_clusters=2, seed=1), 0.2)
    found = select(x, [1, 2], missing="marginalize", seed=0)
    assert found.best.result.mixture.missing == "marginalize"
    with pytest.raises(ValueError, match=r"x: .*nan"):
        select(x, [1, 2])
    estimator = GaussianMixtureEstimator(2, missing="marginalize", random_state=0).fit(x.numpy())
    assert np.isfinite(estimator.score_samples(x.numpy())).all()
    assert get_tags(estimator).input_tags.allow_nan
    assert not get_tags(GaussianMixtureEstimator()).input_tags.allow_nan
    with pytest.raises(ValueError, match="NaN"):
        GaussianMixtureEstimator(2).fit(x.numpy())
