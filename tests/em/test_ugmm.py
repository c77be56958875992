"""EM for mixtures over products of nodes against scikit-learn, EMFitter, and a plain loop."""

import math
from operator import itemgetter

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.mixture import GaussianMixture as SklearnMixture
from torch.utils.data import DataLoader

from pyro_ugmm.distributions import (
    DiagonalCovariance,
    GaussianMixture,
    UGMMMixture,
    UnivariateGaussianMixture,
)
from pyro_ugmm.em import EMFitter, StoppingRule, UGMMFitter, initialize_ugmm
from pyro_ugmm.status import Status

from ..small_device import DEVICE, SmallDevice
from .cases import clusters

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NAN = torch.nan


def fitter(**settings):
    return UGMMFitter(**{"tol": 0, "max_iter": 20, "progress": False, **settings})


def skewed(n_rows=400, n_features=3, seed=0, dtype=torch.float64):
    """Rows of two clusters that are no Gaussians."""
    rng = np.random.default_rng(seed)
    x = rng.exponential(size=(n_rows, n_features)) + 4 * (rng.random((n_rows, 1)) < 0.4)
    return torch.tensor(x, dtype=dtype)


def parameters(mixture):
    nodes = mixture.nodes
    return mixture.weights, nodes.loc, nodes.scale, nodes.probs


def assert_same(mixture, other, rtol=1e-9, atol=1e-12):
    for ours, theirs in zip(parameters(mixture), parameters(other), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)


def one_step(mixture, x, weight, reg_covar):
    """A step of EM, value by value."""
    weights, loc, scale, probs = (part.numpy() for part in parameters(mixture))
    x, weight = x.numpy(), weight.numpy()
    gaussians = np.log(probs) + stats.norm.logpdf(x[:, None, :, None], loc, scale)  # (n, C, D, M)
    seen = ~np.isnan(x)[:, None, :, None]
    gaussians = np.exp(gaussians)
    nodes = gaussians.sum(-1, keepdims=True)
    joint = weights * np.where(seen, nodes, 1)[..., 0].prod(-1)
    shares = weight[:, None] * joint / joint.sum(1, keepdims=True)
    each = np.where(seen, shares[:, :, None, None] * gaussians / nodes, 0)
    mass = each.sum(0)
    values = np.nan_to_num(x)[:, None, :, None]
    means = (each * values).sum(0) / mass
    variances = (each * (values - means) ** 2).sum(0) / mass + reg_covar
    made = UnivariateGaussianMixture(
        *map(torch.tensor, (means, variances**0.5)), probs=torch.tensor(mass)
    )
    log_likelihood = (weight * np.log(joint.sum(1))).sum() / weight.sum()
    return UGMMMixture(torch.tensor(shares.sum(0) / weight.sum()), made), log_likelihood


@pytest.mark.parametrize("missing", ["error", "marginalize"])
def test_steps_are_those_of_a_plain_loop(missing):
    x = skewed(200)  # of fewer, a Gaussian may have none, which the plain loop does not know
    rng = np.random.default_rng(1)
    weight = torch.tensor(rng.uniform(0.2, 3, size=200))
    if missing == "marginalize":
        x[torch.tensor(rng.random(x.shape)) < 0.2] = NAN
        x[x.isnan().all(1)] = 1.0
    start = initialize_ugmm(x, 3, 2, seed=0, missing=missing)
    expected, history = start, []
    for _ in range(5):
        expected, log_likelihood = one_step(expected, x, weight, 1e-3)
        history.append(log_likelihood)
    result = fitter(max_iter=5, reg_covar=1e-3).fit(x, start, weight)
    np.testing.assert_allclose(result.history, history, rtol=1e-12)
    assert_same(result.mixture, expected)
    assert result.n_iter == 5 and result.status is Status.LIMIT_REACHED
    after = one_step(expected, x, weight, 0)[1]
    assert result.log_likelihood == pytest.approx(after, rel=1e-12)


def as_diagonal(mixture):
    nodes = mixture.nodes
    covariance = DiagonalCovariance(nodes.scale[..., 0].square())
    return GaussianMixture(mixture.weights, nodes.loc[..., 0], covariance, missing=mixture.missing)


@pytest.mark.parametrize("reg_covar", [0, 0.1])
def test_with_one_gaussian_steps_are_those_of_diagonal_mixtures(reg_covar):
    x = clusters(700)
    weight = torch.linspace(0.1, 2, 700).double()
    start = initialize_ugmm(x, 4, 1, seed=0)
    settings = {"max_iter": 15, "tol": 0, "progress": False, "reg_covar": reg_covar}
    ours = UGMMFitter(**settings).fit(x, start, weight)
    theirs = EMFitter(**settings).fit(x, as_diagonal(start), weight)
    torch.testing.assert_close(ours.history, theirs.history, rtol=1e-11, atol=0)
    mixture = as_diagonal(ours.mixture)
    torch.testing.assert_close(mixture.weights, theirs.mixture.weights)
    torch.testing.assert_close(mixture.means, theirs.mixture.means)
    torch.testing.assert_close(mixture.variance, theirs.mixture.variance)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, rel=1e-12)


def test_with_entries_missing_the_maximum_is_that_of_diagonal_mixtures():
    """The steps differ: there, what is missing is filled in."""
    x = clusters(700)
    x[::7, 1] = NAN
    start = initialize_ugmm(x, 4, 1, seed=0, missing="marginalize")
    settings = {"max_iter": 1000, "tol": 1e-13, "progress": False}
    ours = UGMMFitter(**settings).fit(x, start)
    theirs = EMFitter(**settings).fit(x, as_diagonal(start))
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, rel=1e-8)
    torch.testing.assert_close(
        as_diagonal(ours.mixture).mean, theirs.mixture.mean, rtol=1e-3, atol=0
    )


def test_one_component_is_a_mixture_for_each_dimension():
    x = skewed()
    start = initialize_ugmm(x, 1, 3, seed=0)
    result = fitter(max_iter=10).fit(x, start)
    for d in range(3):
        _, loc, scale, probs = (
            part[0, d].numpy() if part.dim() == 3 else part for part in parameters(start)
        )
        theirs = SklearnMixture(
            3,
            max_iter=10,
            tol=0,
            weights_init=probs,
            means_init=loc[:, None],
            precisions_init=scale[:, None, None] ** -2.0,
        ).fit(x[:, [d]].numpy())
        np.testing.assert_allclose(result.mixture.nodes.loc[0, d], theirs.means_[:, 0], rtol=1e-8)
        np.testing.assert_allclose(result.mixture.nodes.probs[0, d], theirs.weights_, rtol=1e-8)
    assert result.mixture.weights == 1


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([torch.float32, torch.float64]),
    st.booleans(),
    st.integers(0, 99),
)
def test_no_step_lowers_the_likelihood(n_components, n_gaussians, n_features, dtype, misses, seed):
    x = skewed(80, n_features, seed, dtype)
    if misses:
        x[::4, 0] = NAN
        x = x[~x.isnan().all(1)]
    options = {"missing": "marginalize" if misses else "error"}
    start = initialize_ugmm(x, n_components, n_gaussians, seed=seed, **options)
    result = fitter(max_iter=8, reg_covar=0).fit(x, start)
    heights = [*result.history.tolist(), result.log_likelihood]
    rounding = 1e-10 if dtype == torch.float64 else 1e-4
    assert (np.diff(heights) > -rounding).all()
    assert result.log_likelihood == pytest.approx(
        result.mixture.log_prob(x).mean().item(), abs=1e-4
    )
    assert result.mixture.nodes.loc.dtype == dtype


def test_blocks_weights_and_holders_are_the_same_fit():
    x = skewed(20_000, 2)
    start = initialize_ugmm(x, 2, 2, seed=0)
    whole = fitter(max_iter=3).fit(x, start)
    shuffled = fitter(max_iter=3).fit(DataLoader(x, batch_size=777), start)
    assert_same(whole.mixture, shuffled.mixture)
    assert_same(whole.mixture, fitter(max_iter=3).fit(pd.DataFrame(x.numpy()), start).mixture)
    twice = torch.cat([x[:500], x[:100]])
    weight = torch.ones(500).double()
    weight[:100] = 2
    ours = fitter(max_iter=3).fit(x[:500], start, weight)
    assert_same(ours.mixture, fitter(max_iter=3).fit(twice, start).mixture)


@pytest.mark.parametrize("missing", ["error", "marginalize"])
def test_a_device_without_double_precision_fits_the_same(missing):
    x = skewed(300, dtype=torch.float32)
    if missing == "marginalize":
        x[::5, 1] = NAN
    start = initialize_ugmm(x, 2, 2, seed=0, missing=missing)
    expected = fitter(max_iter=5).fit(x, start).mixture
    with SmallDevice():
        found = fitter(max_iter=5).fit(x.to(DEVICE), start.to(DEVICE)).mixture
        assert found.weights.device.type == DEVICE.type
        found = found.to("cpu")
    assert_same(found, expected, rtol=1e-4, atol=1e-5)


def test_fits_stay_on_the_device_of_the_start(device):
    x = skewed(300)
    start = initialize_ugmm(x.to(device), 2, 2, seed=0)
    result = fitter(max_iter=5).fit(x, start)
    assert result.mixture.weights.device.type == start.weights.device.type == device.type
    expected = fitter(max_iter=5).fit(x, start.to("cpu"))
    assert_same(result.mixture.to("cpu"), expected.mixture)
    assert result.mixture.sample((3,), torch.Generator(device).manual_seed(0)).shape == (3, 3)


def test_a_fit_recovers_what_rows_came_from():
    x = skewed(4_000, 2, seed=2)
    new = skewed(4_000, 2, seed=3)
    few, many = (
        UGMMFitter(progress=False, max_iter=300).fit(x, initialize_ugmm(x, 2, count, seed=0))
        for count in (1, 4)
    )
    truth = torch.log(0.4 * (4 - new).exp().prod(1) * (new > 4).all(1) + 0.6 * (-new).exp().prod(1))
    gaps = [(truth - fit.mixture.log_prob(new)).mean().item() for fit in (few, many)]
    assert gaps[1] < 0.5 * gaps[0]
    assert many.converged and "changed by" in many.reason


def test_the_best_of_several_starts_is_returned():
    x = clusters(300)
    starts = initialize_ugmm(x, 4, 2, n_init=3, seed=0)
    assert starts.batch_shape == (3,)
    result = fitter().fit(x, starts)
    alone = [fitter().fit(x, starts.reindex(itemgetter(i))).log_likelihood for i in range(3)]
    assert result.restarts.tolist() == pytest.approx(alone)
    assert result.log_likelihood == pytest.approx(max(alone))
    again = initialize_ugmm(x, 4, 2, n_init=3, seed=0)
    assert all(map(torch.equal, parameters(starts), parameters(again)))


def test_no_steps_leave_the_start():
    x = skewed()
    start = initialize_ugmm(x, 2, 2, seed=0)
    result = fitter(max_iter=0).fit(x, start)
    assert_same(result.mixture, start)
    assert result.n_iter == 0 and result.log_likelihood == pytest.approx(start.log_prob(x).mean())


def test_what_has_no_weight_stays_without():
    x = skewed()
    start = initialize_ugmm(x, 2, 2, seed=0)
    probs = start.nodes.probs.clone()
    probs[0, 1] = torch.tensor([1.0, 0.0])
    nodes = UnivariateGaussianMixture(start.nodes.loc, start.nodes.scale, probs=probs)
    result = fitter().fit(x, UGMMMixture(torch.tensor([1.0, 0.0]).double(), nodes))
    assert result.mixture.weights.tolist() == [1, 0]
    assert result.mixture.nodes.probs[0, 1].tolist() == [1, 0]
    assert torch.equal(result.mixture.nodes.loc[1], start.nodes.loc[1])
    assert [(one.component, one.kind) for one in result.findings] == [(1, "empty")]


def test_spikes_are_named():
    x = skewed(200, 2)
    x[:100, 1] = -3
    result = fitter(max_iter=50).fit(x, initialize_ugmm(x, 1, 2, seed=0))
    assert [(one.component, one.kind) for one in result.findings] == [(0, "collapsed")]
    assert "component 0 collapsed: in 1 of 2 dimensions, most of the variance" in result.report


def test_a_breakdown_is_a_status():
    def one(scale):
        loc = torch.zeros(1, 1, 1).double()
        nodes = UnivariateGaussianMixture(loc, loc + scale, logits=loc)
        return UGMMMixture(torch.ones(1).double(), nodes)

    result = fitter(reg_covar=0).fit(torch.ones(5, 1).double(), one(1.0))
    assert result.status is Status.BROKEN_DOWN and result.reason.startswith("in step 1: stopped")
    assert_same(result.mixture, one(1.0))
    assert result.n_iter == 0 and result.log_likelihood == pytest.approx(
        -0.5 - 0.5 * math.log(2 * math.pi)
    )
    far = fitter().fit(torch.full((5, 1), 1e100, dtype=torch.float64), one(1e-100))
    assert far.status is Status.BROKEN_DOWN and far.reason.startswith("at the start: stopped")


def test_the_keyboard_leaves_what_there_is(monkeypatch):
    class Interrupting(StoppingRule):
        def is_met(self, state):
            if state.n_steps == 2:
                raise KeyboardInterrupt
            return [False]

        def reason(self, state, at, objective):
            return ""

    x = skewed()
    starts = initialize_ugmm(x, 2, 2, n_init=2, seed=0)
    result = fitter(stopping=Interrupting()).fit(x, starts)
    assert result.interrupted and result.n_iter == 2 and result.reason == "interrupted in step 3"
    assert math.isnan(result.restarts[1])
    expected = fitter(max_iter=2).fit(x, starts.reindex(itemgetter(0)))
    assert_same(result.mixture, expected.mixture)


X, START = skewed(20), initialize_ugmm(skewed(20), 2, 2, seed=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UGMMFitter(tol=-1), "tol: expected a finite non-negative number, got -1"),
        (lambda: UGMMFitter(max_iter=-1), "max_iter: expected an integer of at least 0"),
        (lambda: UGMMFitter(reg_covar=NAN), "reg_covar: expected a finite non-negative number"),
        (lambda: UGMMFitter(stopping=3), "stopping: expected a StoppingRule, or None, got int"),
        (lambda: UGMMFitter(progress=2), "progress: expected True or False, got 2"),
        (lambda: fitter().fit(X, 3), "start: expected a UGMMMixture, such as initialize_ugmm"),
        (lambda: fitter().fit(X, START.expand((2, 2))), r"start: expected batch shape \(\) or \(S"),
        (lambda: fitter().fit(X.float(), START), "x: expected torch.float64, as the start"),
        (lambda: fitter().fit(X[:, :2], START), "x: expected 3 features, as the start"),
        (lambda: fitter().fit(X[:0], START), "x: expected at least one row"),
        (lambda: fitter().fit(X / 0, START), r"x: expected finite values \(missing='marginalize'"),
        (
            lambda: fitter().fit(X, START, X),
            r"sample_weight: expected shape \(20,\), as x has rows",
        ),
        (lambda: fitter().fit(X, START, -X[:, 0]), "sample_weight: expected finite non-negative"),
        (lambda: initialize_ugmm(X, 0), "n_components: expected a positive integer, got 0"),
        (lambda: initialize_ugmm(X, 2, 0), "n_node_components: expected a positive integer, got"),
        (lambda: initialize_ugmm(X, 2, missing="omit"), "missing: expected one of 'error', 'marg"),
        (lambda: initialize_ugmm(X, 2, reg_covar=-1), "reg_covar: expected a finite non-negative"),
        (lambda: initialize_ugmm(X, 2, seed=-1), "seed: expected an integer of at least 0"),
        (
            lambda: initialize_ugmm(X * torch.tensor([1, NAN, 1]), 2, missing="marginalize"),
            "x: expected columns of which something was observed, got none but NaN in column 1",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
