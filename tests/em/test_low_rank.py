"""Mixtures of factor analyzers: their EM by hand, scikit-learn's optimum, and full covariances."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.decomposition import FactorAnalysis

from pyro_ugmm.distributions import GaussianMixture, LowRankCovariance
from pyro_ugmm.em import EMFitter, GaussianMixtureEstimator, StepwiseEM, initialize, select

from .cases import analyzers, clusters

FITTER = EMFitter(tol=1e-10, max_iter=2000, reg_covar=0, progress=False)


def by_hand(x, mixture):
    """The step of Ghahramani and Hinton (1996) with z of any covariance, which the factor takes
    (Liu, Rubin and Wu 1998): weights, means, matrices of the factors, and variances.

    Theirs regresses rows on z and one, and so moves the mean with the factor; at the same factor
    and variances, the mean of the rows is the better one.
    """
    factor, variances = (t.numpy() for t in mixture.covariance.tensors().values())
    means, x = mixture.means.numpy(), x.numpy()
    sigma = factor @ factor.swapaxes(1, 2) + np.stack([np.diag(v) for v in variances])
    joint = np.stack(
        [multivariate_normal(m, s).pdf(x) for m, s in zip(means, sigma, strict=True)], 1
    )
    joint *= mixture.weights.numpy()
    shares = joint / joint.sum(1, keepdims=True)
    made = []
    for k in range(2):
        r, rank = shares[:, k], factor.shape[2]
        beta = factor[k].T @ np.linalg.inv(sigma[k])
        z = np.concatenate([(x - means[k]) @ beta.T, np.ones((len(x), 1))], 1)
        spread = np.zeros((rank + 1, rank + 1))
        spread[:-1, :-1] = np.eye(rank) - beta @ factor[k]
        z_z = (r[:, None] * z).T @ z + r.sum() * spread
        both = (r[:, None] * x).T @ z @ np.linalg.inv(z_z)  # the factor, and the mean at z = 0
        rest = ((r[:, None] * x * (x - z @ both.T)).sum(0)) / r.sum()
        center = z_z[:-1, -1] / r.sum()
        cov_z = z_z[:-1, :-1] / r.sum() - np.outer(center, center)
        made.append((r @ x / r.sum(), both[:, :-1] @ cov_z @ both[:, :-1].T, rest))
    return shares.mean(0), *map(np.stack, zip(*made, strict=True))


def test_a_step_is_that_of_the_paper():
    x, mixture = analyzers(300)
    start = initialize(x, 2, "low_rank", rank=3, seed=0)
    for _ in range(4):
        after = EMFitter(tol=0, max_iter=1, reg_covar=0, progress=False).fit(x, start).mixture
        factor, variances = after.covariance.tensors().values()
        found = after.weights, after.means, factor @ factor.mT, variances
        for ours, theirs in zip(found, by_hand(x, start), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-9)
        start = after
    assert mixture.n_features == 8


@pytest.mark.parametrize("rank", [1, 2])
def test_one_component_ends_at_scikit_learns_optimum(rank):
    factor = 2 * torch.randn(8, rank).double()  # rows with so many factors have one optimum
    x = torch.randn(400, rank).double() @ factor.T + (0.5 + torch.rand(8)) * torch.randn(400, 8)
    result = FITTER.fit(x, initialize(x, 1, "low_rank", rank=rank, seed=0))
    theirs = FactorAnalysis(rank, tol=1e-6, max_iter=3000).fit(x.numpy())
    assert result.log_likelihood == pytest.approx(theirs.score(x.numpy()), abs=1e-6)
    dense = result.mixture.covariance.dense(1, 8)[0]
    np.testing.assert_allclose(dense, theirs.get_covariance(), atol=2e-3, rtol=1e-3)
    assert result.history.diff().min() > -1e-10


@pytest.mark.parametrize("rank", [3, 4])
def test_a_rank_of_nearly_all_features_is_a_full_covariance(rank):
    x = clusters(800, 4, 3)
    full = FITTER.fit(x, initialize(x, 3, seed=0))
    low = FITTER.fit(x, initialize(x, 3, "low_rank", rank=rank, seed=0))
    assert low.log_likelihood == pytest.approx(full.log_likelihood, abs=1e-5)
    torch.testing.assert_close(
        low.mixture.covariance.dense(3, 4),
        full.mixture.covariance.dense(3, 4),
        rtol=0.02,
        atol=0.02,
    )


def test_where_it_ends_the_likelihood_is_stationary():
    x, _ = analyzers(600)
    fitted = FITTER.fit(x, initialize(x, 2, "low_rank", rank=2, seed=0)).mixture
    free = [t.requires_grad_() for t in fitted.tensors().values()]
    weights, means, *values = free
    again = GaussianMixture(weights / weights.sum(), means, LowRankCovariance(*values))
    again.log_prob(x).mean().backward()
    for tensor in free:
        assert tensor.grad.abs().max() < 1e-4


def test_selection_over_ranks_and_components():
    x, _ = analyzers(3000)
    ranks = [1, 2, 3]
    selection = select(x, [1, 2], ["low_rank", "full"], rank=ranks, seed=0, progress=False)
    found = [(row.covariance, row.rank, row.n_components) for row in selection.table]
    assert found == [
        *(("low_rank", rank, size) for rank in ranks for size in (1, 2)),
        *(("full", None, size) for size in (1, 2)),
    ]
    assert (selection.best.rank, selection.best.n_components) == (2, 2)
    assert "low_rank 2" in repr(selection)


def test_steps_on_a_stream_come_near_to_those_on_all_rows():
    x, mixture = analyzers(6000)
    start = initialize(x[:300], 2, "low_rank", rank=2, seed=0)
    em = StepwiseEM(batch_size=200)
    state = em.init(start)
    for block in x.split(200):
        state = em.step(state, block)
    fit = FITTER.fit(x, start)
    found, best, before = (m.log_prob(x).mean() for m in (state.mixture, fit.mixture, start))
    assert best - found < 0.2 * (best - before)
    assert best >= mixture.log_prob(x).mean()


def test_behind_scikit_learns_interface():
    x, _ = analyzers(300)
    model = clone(GaussianMixtureEstimator(2, covariance_type="low_rank", rank=2, random_state=0))
    model.fit(x.numpy())
    assert model.covariances_.shape == (2, 8, 8)
    tensors = model.mixture_.covariance.tensors()
    assert tensors["factor"].shape == (2, 8, 2)
    theirs = model.mixture_.to_sklearn()
    np.testing.assert_allclose(model.score_samples(x.numpy()), theirs.score_samples(x.numpy()))
    assert (model.predict(x.numpy()) == theirs.predict(x.numpy())).all()


X = analyzers(40)[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: initialize(X, 2, "low_rank"), "rank: expected a positive integer, got None"),
        (lambda: initialize(X, 2, "low_rank", rank=0), "rank: expected a positive integer, got 0"),
        (lambda: initialize(X, 2, "low_rank", rank=9), "rank: expected at most 8.*got 9"),
        (lambda: initialize(X, 2, "full", rank=1), "rank: expected None, as 'full' .*got 1"),
        (lambda: select(X, 2, "full", rank=1), "rank: expected None, as 'full' covariances"),
        (lambda: select(X, 2, "low_rank", rank=[]), "rank: expected at least one"),
        (
            lambda: GaussianMixtureEstimator(
                2, covariance_type="low_rank", rank=1, precisions_init=np.ones((2, 8, 8))
            ).fit(X.numpy()),
            "precisions_init: expected None, with covariance_type='low_rank'",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
