"""Entropies and divergences of mixtures: bounds and estimates against quadrature."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import MultivariateNormal, kl_divergence

from pyro_ugmm.distributions import (
    GaussianMixture,
    SphericalCovariance,
    entropy_bounds,
    kl_bounds,
    kl_monte_carlo,
    kl_variational,
)
from tests.distributions.mixtures import STRUCTURES, Known, random_mixture

CASES = [
    (structure, n_features, seed)
    for seed, structure in enumerate([*STRUCTURES] * 2)
    for n_features in (1, 2)
]
by_case = pytest.mark.parametrize(("structure", "n_features", "seed"), CASES)


def expectation(truth, function):
    """Of a mixture that scipy knows, in one or two dimensions, on a grid."""
    n_features = truth.means.shape[-1]
    axis = np.linspace(-15, 15, 160)
    grid = np.stack(np.meshgrid(*[axis] * n_features), -1).reshape(-1, n_features)
    values = np.exp(truth.log_prob(grid)) * function(grid)
    return values.sum() * (axis[1] - axis[0]) ** n_features


def entropy(truth):
    return expectation(truth, lambda x: -truth.log_prob(x))


def divergence(p, q):
    return expectation(p, lambda x: p.log_prob(x) - q.log_prob(x))


def of_one_component(structure, n_features, seed):
    mixture, _ = random_mixture(structure, 1, n_features, seed=seed)
    matrices = mixture.covariance.dense(1, n_features)[0]
    return mixture, MultivariateNormal(mixture.means[0], matrices)


@by_case
def test_entropy_lies_within_its_bounds(structure, n_features, seed):
    mixture, truth = random_mixture(structure, 3, n_features, seed=seed)
    lower, upper = entropy_bounds(mixture)
    exact = entropy(truth)
    assert lower - 1e-9 <= exact <= upper + 1e-9
    components = [*zip(truth.means, truth.matrices, strict=True)]
    entropies = [stats.multivariate_normal(cov=m).entropy() for m in truth.matrices]
    assert upper <= truth.weights @ (entropies - np.log(truth.weights)) + 1e-9
    pairs = [
        [stats.multivariate_normal(b, s + t).pdf(a) for b, t in components] for a, s in components
    ]
    assert lower >= -truth.weights @ np.log(pairs @ truth.weights) - 1e-9


def test_the_variational_approximation_is_the_formula():
    p, q = (random_mixture("full", n, 2, seed=n)[0] for n in (2, 3))
    parts = [
        [MultivariateNormal(*one) for one in zip(m.means, m.covariance.values, strict=True)]
        for m in (p, q)
    ]

    def mixed(one, weights, others):
        terms = [
            w * torch.exp(-kl_divergence(one, b)) for w, b in zip(weights, others, strict=True)
        ]
        return sum(terms).log()

    expected = sum(
        weight * (mixed(one, p.weights, parts[0]) - mixed(one, q.weights, parts[1]))
        for weight, one in zip(p.weights, parts[0], strict=True)
    )
    torch.testing.assert_close(kl_variational(p, q), expected)


@by_case
def test_divergence_lies_within_its_bounds(structure, n_features, seed):
    p, p_truth = random_mixture(structure, 3, n_features, seed=seed)
    q, q_truth = random_mixture("full", 2, n_features, seed=seed + 100)
    lower, upper = kl_bounds(p, q)
    exact = divergence(p_truth, q_truth)
    assert lower - 1e-9 <= exact <= upper + 1e-9
    value, error = kl_monte_carlo(p, q, num_samples=4000, seed=seed)
    assert abs(value - exact) < 6 * error


@pytest.mark.parametrize("structure", STRUCTURES)
def test_single_components_are_exact(structure):
    (p, p_normal), (q, q_normal) = (of_one_component(structure, 3, seed) for seed in (0, 1))
    expected = kl_divergence(p_normal, q_normal)
    for got in (kl_divergence(p, q), kl_variational(p, q), kl_bounds(p, q).upper):
        torch.testing.assert_close(got, expected)
    for bound in entropy_bounds(p):
        torch.testing.assert_close(bound, p_normal.entropy())


def test_far_components_and_equal_ones_are_nearly_exact():
    mixture, truth = random_mixture("full", 3, 2)
    far = GaussianMixture(mixture.weights, 100 * mixture.means, mixture.covariance)
    entropies = [stats.multivariate_normal(cov=m).entropy() for m in truth.matrices]
    exact = truth.weights @ (entropies - np.log(truth.weights))
    for bound in entropy_bounds(far):
        assert bound.item() == pytest.approx(exact)
    for got in (kl_bounds(mixture, mixture).upper, kl_variational(mixture, mixture)):
        assert got.item() == pytest.approx(0, abs=1e-8)
    assert kl_divergence(mixture, mixture) == 0


def test_what_torch_gives_has_gradients():
    """They agree, within their errors, with differences of what quadrature gives."""
    (p, p_truth), (q, q_truth) = (random_mixture("diagonal", 2, 1, seed=seed) for seed in (3, 4))
    values = torch.cat([p.weights.log(), p.means[:, 0]]).requires_grad_()
    fitted = GaussianMixture(values[:2].softmax(-1), values[2:, None], p.covariance)
    torch.manual_seed(0)
    draws = [
        torch.autograd.grad(kl_divergence(fitted, q), values, retain_graph=True)[0]
        for _ in range(20)
    ]
    error = torch.stack(draws).std(0) / len(draws) ** 0.5
    assert (error < 0.05).all()

    def exact(values):
        logits, means = values[:2], values[2:, None]
        weights = np.exp(logits) / np.exp(logits).sum()
        return divergence(Known(weights, means, p_truth.matrices), q_truth)

    for at, step in enumerate(1e-4 * np.eye(4)):
        ends = [exact(values.detach().numpy() + sign * step) for sign in (-1, 1)]
        assert abs(torch.stack(draws)[:, at].mean() - (ends[1] - ends[0]) / 2e-4) < 6 * error[at]


def test_batches_are_as_one_by_one():
    p = [random_mixture("full", 3, 2, seed=seed)[0] for seed in range(2)]
    q = [random_mixture("full", 2, 2, seed=seed)[0] for seed in (5, 6, 7)]
    many, others = (
        GaussianMixture.stack(p).reindex(lambda t: t.unsqueeze(1)),
        GaussianMixture.stack(q),
    )
    for function in (
        lambda *m: kl_bounds(*m).lower,
        lambda *m: kl_bounds(*m).upper,
        kl_variational,
    ):
        expected = torch.stack([torch.stack([function(a, b) for b in q]) for a in p])
        torch.testing.assert_close(function(many, others), expected)
    estimate = kl_monte_carlo(many, others, num_samples=500, seed=0)
    lower, upper = kl_bounds(many, others)
    assert estimate.value.shape == estimate.standard_error.shape == (2, 3)
    assert (estimate.value > lower - 0.2).all() and (estimate.value < upper + 0.2).all()
    for got, one in zip(entropy_bounds(many).upper[:, 0], p, strict=True):
        torch.testing.assert_close(got, entropy_bounds(one).upper)


def test_components_of_no_weight_do_not_matter():
    weights = torch.tensor([0.4, 0.6, 0.0], dtype=torch.float64, requires_grad=True)
    means = random_mixture("spherical", 3, 2)[0].means
    covariance = SphericalCovariance(torch.ones(3).double())
    p = GaussianMixture(weights, means, covariance)
    two = SphericalCovariance(torch.ones(2).double())
    without = GaussianMixture(weights[:2].detach(), means[:2], two)
    q = random_mixture("full", 2, 2, seed=1)[0]
    for got, expected in (
        (kl_bounds(p, q), kl_bounds(without, q)),
        (kl_bounds(q, p), kl_bounds(q, without)),
        (entropy_bounds(p), entropy_bounds(without)),
    ):
        torch.testing.assert_close(got, expected)
        for bound in got:
            (grad,) = torch.autograd.grad(bound, weights, retain_graph=True)
            assert grad.isfinite().all()


def test_standard_errors_are_those_of_repetitions():
    p, q = (random_mixture("full", 3, 2, seed=seed)[0] for seed in (0, 1))
    values, errors = kl_monte_carlo(p.expand((400,)), q, num_samples=50, seed=0)
    assert 0.8 < errors.square().mean().sqrt() / values.std() < 1.25


def test_a_divergence_from_any_distribution():
    p, _ = random_mixture("full", 3, 2)
    normal = MultivariateNormal(p.mean, p.covariance_matrix)
    value, error = kl_monte_carlo(p, normal, seed=0)
    lower, upper = entropy_bounds(p)
    assert normal.entropy() - upper - 6 * error < value < normal.entropy() - lower + 6 * error


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda p: entropy_bounds(3), "mixture: expected a GaussianMixture, got int"),
        (lambda p: kl_bounds(p, torch.ones(2)), "q: expected a GaussianMixture, got Tensor"),
        (lambda p: kl_variational(p, p.marginal([0])), "q: expected 2 features, as p has, got 1"),
        (lambda p: kl_bounds(p, p.to(torch.float32)), "expected torch.float"),
        (lambda p: kl_bounds(p.expand((2,)), p.expand((3,))), "broadcast"),
        (lambda p: kl_monte_carlo(p, p.marginal([0])), r"q: expected .*event_shape \(2,\)"),
        (lambda p: kl_monte_carlo(p, p, num_samples=1), "num_samples: expected .* 2, got 1"),
        (lambda p: kl_monte_carlo(p, p, seed=-1), "seed: expected"),
        (lambda p: p.entropy(), "entropy_bounds"),
    ],
)
def test_what_is_refused(ask, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        ask(random_mixture("full", 3, 2)[0])
