"""Rows and weights in whatever form they come, and what is refused of them."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from pyro_ugmm.em import EMFitter, GaussianMixtureEstimator, initialize, select

from .cases import STRUCTURE_NAMES, assert_same, clusters, initialized

structures = pytest.mark.parametrize("structure", STRUCTURE_NAMES)
X = clusters(60)
START = initialize(X, 2, seed=0)
FITTER = EMFitter(max_iter=5, tol=0, progress=False)
ONES = torch.ones(30).double()


def blocks(*weights):
    return list(zip(X.split(30), weights, strict=True))


@pytest.mark.parametrize(
    "weight", [ONES[:1], ONES[:, None], ONES[:29], torch.ones(()).double(), [1.0]]
)
def test_each_block_of_a_stream_has_a_weight_for_each_row(weight):
    for call in (FITTER.fit, FITTER.e_step):
        with pytest.raises(
            ValueError, match=r"sample_weight: expected shape \(30,\), as its block"
        ):
            call(blocks(ONES, weight), START)
    with pytest.raises(ValueError, match="sample_weight: expected shape"):
        initialize(blocks(ONES, weight), 2)


def test_a_stream_has_some_weight():
    for call in (FITTER.fit, lambda x, _: initialize(x, 2)):
        with pytest.raises(ValueError, match="sample_weight: expected at least one positive"):
            call(blocks(0 * ONES, 0 * ONES), START)
    assert FITTER.fit(blocks(0 * ONES, ONES), START).n_iter == 5


def test_weights_as_a_filtered_series():
    weight = torch.rand(60).double()
    series = pd.Series(np.append(0, weight.numpy()))[1:]
    frame = pd.DataFrame(np.concatenate([X[:1], X]))[1:]
    start = initialize(frame, 2, seed=0, sample_weight=series)
    assert_same(start, initialize(X, 2, seed=0, sample_weight=weight), rtol=1e-12)
    assert_same(
        FITTER.fit(frame, start, series).mixture, FITTER.fit(X, start, weight).mixture, rtol=1e-12
    )
    label = (X[:, 0] > 0).long()
    labels = pd.Series(np.append(0, label.numpy()))[1:]
    assert_same(initialize(X, 2, labels=labels), initialize(X, 2, labels=label), rtol=1e-12)


@structures
@pytest.mark.parametrize("power", [-110, -83, 83, 123])
@pytest.mark.parametrize("n_components", [2, 12])
def test_the_scale_of_weights_does_not_matter(structure, power, n_components):
    """Powers of two, by which nothing is rounded: components of few rows magnify rounding."""
    x, weight = X.float(), torch.rand(60) + 0.01
    scaled = weight * 2.0**power
    start = initialized(x, n_components, structure, seed=0, sample_weight=weight)
    same = initialized(x, n_components, structure, seed=0, sample_weight=scaled)
    assert_same(same, start, rtol=1e-5, atol=1e-5)
    expected = FITTER.fit(x, start, weight)
    assert_same(FITTER.fit(x, start, scaled).mixture, expected.mixture, 1e-5, 1e-5)
    if power == -83:  # in parts, weights stay as they are
        halves = slice(20), slice(20, 60)
        parts, scaled_parts = (
            sum(FITTER.e_step(x[at], start, w[at]) for at in halves) for w in (weight, scaled)
        )
        assert_same(FITTER.m_step(scaled_parts), FITTER.m_step(parts), 1e-5, 1e-5)


def test_a_seed_gives_the_same_start_whatever_the_default_dtype():
    before = torch.get_default_dtype()
    try:
        starts = []
        for dtype in (torch.float32, torch.float64):
            torch.set_default_dtype(dtype)
            starts.append(initialize(X, 4, method="random_from_data", seed=3))
    finally:
        torch.set_default_dtype(before)
    assert_same(*starts, rtol=0)


def test_fits_in_inference_mode_can_be_used_with_gradients():
    with torch.inference_mode():
        start = initialize(X, 2, seed=0)
        mixture = FITTER.fit(X.clone(), start).mixture
        stepped = FITTER.m_step(FITTER.e_step(X.clone(), mixture))
    for fitted in (start, mixture, stepped):
        x = X.clone().requires_grad_()
        fitted.log_prob(x).sum().backward()
        assert x.grad.isfinite().all()
    means = X[:2].clone().requires_grad_()
    assert not initialize(X, 2, means=means).means.requires_grad


def test_statistics_sum():
    parts = [FITTER.e_step(part, START) for part in X.split(20)]
    whole = FITTER.e_step(X, START)
    torch.testing.assert_close(sum(parts).second, whole.second)
    for other in (3, None, "a"):
        with pytest.raises(ValueError, match="other: expected SufficientStatistics"):
            parts[0] + other
        with pytest.raises(ValueError, match="other: expected SufficientStatistics"):
            other + parts[0]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: FITTER.fit(scipy.sparse.csr_matrix(X.numpy()), START), "x: .* sparse csr_matrix"),
        (lambda: FITTER.fit(X.to_sparse(), START), "x: expected a dense tensor"),
        (lambda: FITTER.fit(X, START, ["a"] * 60), "sample_weight: expected .* numbers"),
        (lambda: FITTER.e_step(X, START.expand((2,))), r"mixture: .* batch shape \(2,\)"),
        (lambda: FITTER.e_step(X, "a"), "mixture: expected a GaussianMixture"),
        (lambda: initialize(torch.zeros(5, 0), 2), "x: expected at least one feature"),
        (lambda: initialize(X, True), "n_components: expected a positive integer, got True"),
        (lambda: initialize(X, 2, seed=1.5), "seed: expected an integer of at least 0, got 1.5"),
        (lambda: initialize(X, 2, reg_covar=np.inf), "reg_covar: expected a finite"),
        (lambda: initialize(X, 2, means=X[:2], n_init=3), "n_init: expected 1.*means"),
        (
            lambda: initialize(X, 2, labels=torch.zeros(60).long(), method="kmeans"),
            "labels and method: expected only one",
        ),
        (lambda: select(X, [1], []), "covariance: expected at least one structure"),
        (lambda: select(X, [2], fitter=3), "fitter: expected an EMFitter, got int"),
        (lambda: select(X, [2], missing="drop"), "missing: expected"),
        (
            lambda: GaussianMixtureEstimator(2, precisions_init=np.zeros((2, 3, 3))).fit(X.numpy()),
            "precisions_init: expected positive definite",
        ),
        (
            lambda: GaussianMixtureEstimator(2, precisions_init=np.eye(3)).fit(X.numpy()),
            r"precisions_init: expected shape \(2, 3, 3\)",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_one_number_of_components_is_enough():
    assert select(X, 3, seed=0).best.n_components == 3
