"""Stepwise EM against a plain loop, a step of EM, and EM on all rows of a stream."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import multivariate_normal

from pyro_ugmm.distributions import FullCovariance, GaussianMixture
from pyro_ugmm.em import (
    ConjugatePrior,
    EMAlgorithm,
    EMFitter,
    StepwiseEM,
    SufficientStatistics,
    initialize,
)

from .cases import STRUCTURE_NAMES, assert_same, clusters, initialized, parameters

X = clusters(240)
WEIGHT = torch.linspace(0.5, 1.5, 240).double()
PRIOR = ConjugatePrior(X.mean(0), torch.cov(X.T), mean_strength=1, covariance_strength=3)


def taken(em, start, parts, weight=0.0):
    state = em.init(start, weight)
    for part in parts:
        state = em.step(state, *part) if isinstance(part, tuple) else em.step(state, part)
    return state


@pytest.mark.parametrize("prior", [None, PRIOR], ids=["no prior", "prior"])
@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
def test_the_first_step_is_a_step_of_em(structure, prior):
    start = initialized(X, 3, structure, seed=0)
    settings = {"reg_covar": 1e-5, "prior": prior}
    em = EMAlgorithm(**settings)
    expected = em.step(em.init(start, X, WEIGHT), X, WEIGHT)
    state = taken(StepwiseEM(batch_size=200, **settings), start, [(X, WEIGHT)])
    assert state.n_steps == 1 and state.waiting is None
    assert_same(state.mixture, expected.mixture, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        state.log_likelihood, (WEIGHT * start.log_prob(X)).sum() / WEIGHT.sum()
    )


def plain(start, parts, decay, weight):
    """Averages of raw moments, component by component and row by row."""
    w, means, matrices = start.weights.numpy(), start.means.numpy(), start.covariance.dense(3, 3)
    matrices = matrices.numpy()
    second = matrices + np.einsum("ki,kj->kij", means, means)
    average = [w, w[:, None] * means, w[:, None, None] * second]
    total = weight
    for x in parts:
        x = x.numpy()
        joint = [
            np.log(w[k]) + multivariate_normal(means[k], matrices[k]).logpdf(x) for k in range(3)
        ]
        r = softmax(joint, 0) / len(x)
        total += len(x)
        size = (len(x) / total) ** decay
        new = [r.sum(1), r @ x, np.einsum("kn,ni,nj->kij", r, x, x)]
        average = [(1 - size) * a + size * b for a, b in zip(average, new, strict=True)]
        w, means = average[0], average[1] / average[0][:, None]
        centered = average[2] - w[:, None, None] * np.einsum("ki,kj->kij", means, means)
        matrices = yield w, means, centered


SHAPES = {
    "full": lambda w, s: s / w[:, None, None],
    "tied": lambda w, s: np.broadcast_to(s.sum(0), s.shape),
    "diagonal": lambda w, s: np.stack([np.diag(np.diag(a)) for a in s]) / w[:, None, None],
    "spherical": lambda w, s: np.stack([np.trace(a) / 3 * np.eye(3) for a in s]) / w[:, None, None],
}


@pytest.mark.parametrize("weight", [0.0, 150.0])
@pytest.mark.parametrize("structure", SHAPES)
def test_equals_a_plain_loop(structure, weight):
    start = initialized(X[:80], 3, structure, seed=0)
    parts = X.split([60, 20, 90, 70])
    loop = plain(start, parts, 0.6, weight)
    w, means, scatter = next(loop)
    for _ in parts[1:]:
        w, means, scatter = loop.send(SHAPES[structure](w, scatter))
    em = StepwiseEM(decay=0.6, batch_size=1, reg_covar=0)
    mixture = taken(em, start, parts, weight).mixture
    np.testing.assert_allclose(mixture.weights, w, rtol=1e-8)
    np.testing.assert_allclose(mixture.means, means, rtol=1e-8)
    matrices = SHAPES[structure](w, scatter)
    np.testing.assert_allclose(mixture.covariance.dense(3, 3), matrices, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
def test_expected_statistics_give_their_mixture_back(structure):
    mixture = initialized(X, 3, structure, seed=0)
    statistics = SufficientStatistics.expected(mixture, 50.0)
    moved = statistics.about(mixture.means + 1)
    for one in (statistics, moved):
        assert_same(EMFitter(reg_covar=0).m_step(one), mixture, rtol=1e-9)


def test_single_rows_wait_for_a_step():
    em, start = StepwiseEM(batch_size=60), initialize(X[:80], 3, seed=0)
    blocks = taken(em, start, X.split(60))
    rows = taken(em, start, X.split(1))
    assert rows.n_steps == blocks.n_steps == 4
    assert_same(rows.mixture, blocks.mixture, rtol=1e-8)
    begun = em.init(start)
    waiting = em.step(begun, X[:50])
    assert waiting.n_steps == 0 and waiting.waiting.weight == 50
    assert waiting.mixture is begun.mixture


def truth(seed):
    generator = torch.Generator().manual_seed(seed)
    root = 0.5 * torch.randn(3, 2, 2, generator=generator, dtype=torch.float64)
    angles = torch.tensor([0.0, 2.1, 4.2]).double() + seed
    means = 3.0 * torch.stack([angles.cos(), angles.sin()], -1)
    matrices = root @ root.mT + 0.5 * torch.eye(2).double()
    return GaussianMixture(torch.tensor([0.2, 0.3, 0.5]).double(), means, FullCovariance(matrices))


def test_a_stream_leads_to_where_em_on_all_rows_does():
    """On rows held out, and nearer to the truth the more rows came by."""
    short, long, batch = [], [], []
    for seed in range(6):
        true, generator = truth(seed), torch.Generator().manual_seed(seed)
        x = true.sample_with_component((30_000,), generator=generator)[0]
        held = true.sample_with_component((20_000,), generator=generator)[0]
        start = initialize(x[:300], 3, method="k-means++", seed=seed)
        best = true.log_prob(held).mean().item()
        em, state = StepwiseEM(batch_size=300), None
        for i, rows in enumerate(x.split(300)):
            state = em.step(em.init(start) if state is None else state, rows)
            if i == 4:
                short.append(best - state.mixture.log_prob(held).mean().item())
        long.append(best - state.mixture.log_prob(held).mean().item())
        full = EMFitter(tol=1e-6, max_iter=500, progress=False).fit(x, start).mixture
        batch.append(best - full.log_prob(held).mean().item())
    assert np.median(long) < 0.3 * np.median(short)
    assert np.median(np.subtract(long, batch)) < 2e-3


def test_a_state_stays_as_it_was():
    em, start = StepwiseEM(batch_size=50), initialize(X, 3, seed=0)
    state = taken(em, start, X.split(60)[:2])
    before = state.mixture.means.clone(), state.statistics.second.clone()
    once, again = em.step(state, X[120:]), em.step(state, X[120:])
    assert torch.equal(once.mixture.means, again.mixture.means)
    assert torch.equal(state.mixture.means, before[0])
    assert torch.equal(state.statistics.second, before[1])
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.n_steps = 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
def test_steps_of_a_row_and_a_component_without_rows_end_sound(structure, dtype):
    scales, offsets = torch.tensor([1, 0.01, 100]), torch.tensor([0, 1e3, -5])
    x = (torch.randn(1000, 3) * scales + offsets).to(dtype)
    start = initialized(x[:50], 3, structure, seed=0)
    start.means[2] = 1e6
    for reg_covar in (0, 1e-6):
        em = StepwiseEM(batch_size=1, reg_covar=reg_covar)
        mixture = taken(em, start, x.split([1, 2, 3, 94, 200, 700])).mixture
        assert all(tensor.isfinite().all() for tensor in parameters(mixture))
        assert mixture.log_prob(x).isfinite().all()


def test_missing_entries():
    holes = torch.where(torch.eye(3).bool().repeat(80, 1), torch.nan, X)
    start = initialize(holes, 2, seed=0, missing="marginalize")
    state = taken(StepwiseEM(batch_size=100), start, [holes])
    fit = EMFitter(tol=0, max_iter=1, progress=False).fit(holes, start)
    assert_same(state.mixture, fit.mixture, rtol=1e-9)


def test_bad_input():
    starts = initialize(X, 3, n_init=2, seed=0)
    with pytest.raises(ValueError, match="start: expected one without a batch"):
        StepwiseEM().init(starts)
    with pytest.raises(ValueError, match="weight: expected a finite non-negative"):
        StepwiseEM().init(initialize(X, 3), -1)
    with pytest.raises(ValueError, match="prior: expected 2 features"):
        StepwiseEM(prior=PRIOR).init(initialize(X[:, :2], 3))
    with pytest.raises(ValueError, match="x: expected finite"):
        StepwiseEM().step(StepwiseEM().init(initialize(X, 3)), X / 0)
