"""Parts of a mixture that stay: exactly these, and the others go to a maximum beside them."""

from functools import reduce

import numpy as np
import pytest
import torch

from pyro_ugmm.em import (
    ConjugatePrior,
    EMAlgorithm,
    EMFitter,
    GaussianMixtureEstimator,
    StepwiseEM,
    initialize,
)

STRUCTURES = ("full", "tied", "diagonal", "spherical")
QUIET = {"progress": False}
CASES = {
    "weights": {"weights": True},
    "one weight": {"weights": [1]},
    "means": {"means": True},
    "two means": {"means": [0, 2]},
    "covariance": {"covariance": True},
    "a covariance": {"covariance": [1]},
    "a component": {"weights": [0], "means": [0], "covariance": [0]},
    "all but the weights": {"means": True, "covariance": True},
    "all": {"weights": True, "means": True, "covariance": True},
}


def rows():
    label = torch.arange(150) % 3
    at = 2.5 * torch.randn(3, 2, dtype=torch.float64)
    return at[label] + torch.randn(150, 2, dtype=torch.float64)


def stays(frozen, name):
    chosen = frozen.get(name, False)
    return [chosen is True or (chosen is not False and k in chosen) for k in range(3)]


@pytest.mark.parametrize("covariance", STRUCTURES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("is_prior", [False, True])
def test_what_is_frozen_stays_and_the_rest_is_at_a_maximum(covariance, case, is_prior):
    frozen, x = CASES[case], rows()
    if covariance == "tied" and isinstance(frozen.get("covariance"), list):
        frozen = frozen | {"covariance": True}
    prior = ConjugatePrior(x.mean(0), torch.cov(x.T), 2.0, 3.0, 1.5) if is_prior else None
    start = initialize(x, 3, covariance, seed=0)
    fitter = EMFitter(frozen=frozen, prior=prior, tol=1e-12, max_iter=4000, reg_covar=0.0, **QUIET)
    result = fitter.fit(x, start)
    mixture, ((name, before),) = result.mixture, start.covariance.tensors().items()
    for k in range(3):
        if stays(frozen, "weights")[k]:
            assert mixture.weights[k] == start.weights[k]
        if stays(frozen, "means")[k]:
            assert torch.equal(mixture.means[k], start.means[k])
        if stays(frozen, "covariance")[k]:
            at = ... if covariance == "tied" else k
            assert torch.equal(mixture.covariance.tensors()[name][at], before[at])
    assert float(mixture.weights.sum()) == pytest.approx(1, abs=1e-12)
    if not is_prior:
        assert (result.history.diff() > -1e-9).all()
    tensors = mixture.weights.log(), mixture.means, mixture.covariance.tensors()[name]
    logits, means, values = (t.clone().requires_grad_() for t in tensors)
    kept = torch.tensor(stays(frozen, "weights"))
    free = torch.where(kept, -torch.inf, logits).softmax(-1)
    rest = 1 - mixture.weights[kept].sum()
    weights = torch.where(kept, mixture.weights, rest * free) if not kept.all() else mixture.weights
    moved = mixture.with_parameters(weights, means, type(mixture.covariance)(values))
    objective = moved.log_prob(x).mean()
    if prior is not None:
        objective = objective + prior.log_density(moved) / len(x)
    slopes = torch.autograd.grad(objective, (logits, means, values), allow_unused=True)
    for slope, part in zip(slopes, ("weights", "means", "covariance"), strict=True):
        if slope is None:
            continue
        can_move = ~torch.tensor(stays(frozen, part))
        if part == "covariance" and covariance == "tied":
            slope = slope if can_move.all() else 0 * slope
        else:
            slope = slope[can_move]
        assert slope.numel() == 0 or slope.abs().max() < 1e-4


def test_restarts_keep_what_each_started_with():
    x = rows()
    starts = initialize(x, 3, n_init=4, seed=0, method="random_from_data")
    result = EMFitter(frozen={"means": [0]}, **QUIET).fit(x, starts)
    kept = result.mixture.means[0]
    assert any(torch.equal(kept, mean) for mean in starts.means[:, 0])


def test_a_frozen_component_without_rows_is_not_revived():
    x = rows()
    start = initialize(x, 3, seed=0)
    start.means[0] = 1e4
    result = EMFitter(frozen={"means": [0]}, **QUIET).fit(x, start)
    assert torch.equal(result.mixture.means[0], start.means[0])
    assert [finding.kind for finding in result.findings] == ["empty"]
    free = EMFitter(**QUIET).fit(x, start)
    assert "revived" in [finding.kind for finding in free.findings]


def test_pure_steps_keep_it_too():
    x = rows()
    em = EMAlgorithm(frozen={"means": True})
    state = em.step(em.init(initialize(x, 2, seed=0), x), x)
    again = em.step(state, x)
    assert torch.equal(again.mixture.means, state.mixture.means)
    fitter = EMFitter(frozen={"means": True})
    start = initialize(x, 2, seed=0)
    assert torch.equal(fitter.m_step(fitter.e_step(x, start)).means, start.means)


X = rows()


@pytest.mark.parametrize(
    "chosen",
    [
        (0, 2),
        range(0, 3, 2),
        {0, 2},
        np.array([2, 0]),
        torch.tensor([0, 2]),
        [np.int64(0), np.int32(2)],
    ],
)
def test_numbers_of_any_kind(chosen):
    assert EMFitter(frozen={"means": chosen}).frozen.means == (0, 2)


@pytest.mark.parametrize("chosen", [np.True_, torch.tensor(True), np.array(True)])
def test_truth_values_of_any_kind(chosen):
    assert EMFitter(frozen={"means": chosen}).frozen.means is True


@pytest.mark.parametrize("part", ["weights", "means", "covariance"])
@pytest.mark.parametrize(
    "fit",
    [
        lambda frozen, start: (
            reduce(
                lambda state, x: StepwiseEM(frozen=frozen, batch_size=40).step(state, x),
                X.split(30),
                StepwiseEM(frozen=frozen).init(start),
            ).mixture
        ),
        lambda frozen, start: by_estimator(frozen, start),
    ],
)
def test_what_comes_by_once_moves_nothing_that_is_frozen(part, fit):
    start = initialize(X, 3, seed=0)
    found = fit({part: [1]}, start).tensors()
    for name, before in start.tensors().items():
        stays = torch.allclose(found[name][1], before[1], rtol=1e-12, atol=1e-12)
        assert stays or name.split(".")[0] != part
        assert not torch.equal(found[name][0], before[0])


def by_estimator(frozen, start):
    estimator = GaussianMixtureEstimator(
        3,
        weights_init=start.weights.numpy(),
        means_init=start.means.numpy(),
        precisions_init=np.linalg.inv(start.covariance.dense(3, 2).numpy()),
        frozen=frozen,
        batch_size=20,
    )
    for x in X.split(40):
        estimator.partial_fit(x.numpy())
    return estimator.mixture_


def fit(frozen, covariance="full", **options):
    return EMFitter(frozen=frozen, **options, **QUIET).fit(X, initialize(X, 3, covariance, seed=0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit(["means"]), "frozen: expected a dictionary with some of .*got list"),
        (lambda: fit({"mean": True}), r"frozen: expected parts among .*got \['mean'\]"),
        (lambda: fit({"means": 1.0}), r"frozen\['means'\]: expected True, False, or numbers"),
        (lambda: fit({"means": [-1]}), r"frozen\['means'\]: expected True, False, or numbers"),
        (lambda: fit({"means": [True]}), r"frozen\['means'\]: expected True, False, or numbers"),
        (lambda: fit({"weights": [0, 3]}), r"frozen\['weights'\]: expected components below 3"),
        (
            lambda: fit({"covariance": [0]}, "tied"),
            r"frozen\['covariance'\]: expected True or False, as all components share",
        ),
        (
            lambda: fit({"means": True}, engine="native"),
            "engine: expected 'native' to be available, got none: parts are frozen",
        ),
        (
            lambda: EMFitter(frozen={"weights": [0]}).m_step(
                EMFitter().e_step(X, initialize(X, 3, seed=0))
            ),
            "frozen: expected no weights among them, or EMAlgorithm's steps",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
