"""Gradients of draws: what moves a draw carries the density along, and SVI learns by it."""

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch.distributions.constraints import lower_cholesky

from pyro_ugmm.distributions import GaussianMixture, UnivariateGaussianMixture
from pyro_ugmm.distributions.pathwise import reparameterize_rows
from tests.distributions.mixtures import (
    STRUCTURES,
    by_structure,
    parameters,
    random_mixture,
    rebuilt,
)


def linear(mixture, a):
    return mixture.mean @ a


def quadratic(mixture, a):
    square = mixture.covariance_matrix + mixture.mean.unsqueeze(-1) * mixture.mean.unsqueeze(-2)
    return a @ square @ a


def cosine(mixture, a):
    spread = a @ mixture.covariance.dense(mixture.n_components, mixture.n_features) @ a
    return (mixture.weights * torch.exp(-0.5 * spread) * (mixture.means @ a).cos()).sum(-1)


EXPECTATIONS = [
    (lambda t: t, linear),
    (torch.square, quadratic),
    (torch.cos, cosine),
]
"""Functions of a projection of the rows, and their expectations in closed form."""


def direction(n_features):
    return torch.tensor([0.7, -0.4, 0.3, 0.5][:n_features]).double()


def leaves(mixture, *batch):
    """Logits, means and the covariance's values, in a batch, to differentiate by."""
    weights, *others = parameters(mixture)
    tensors = [weights.log(), *others]
    return [t.detach().expand(*batch, *t.shape).clone().requires_grad_() for t in tensors]


def of_leaves(structure, logits, *others):
    return rebuilt(structure, logits.softmax(-1), *others, validate_args=False)


def moved(mixture, x):
    matrices = mixture.covariance.dense(mixture.n_components, mixture.n_features)
    return reparameterize_rows(x, mixture.log_weights, mixture.means, matrices)


def quadrature(mixture, function, a):
    """The expectation as a sum over a grid that moves with the parameters, where draws may be."""
    axis = torch.linspace(-16, 16, 200, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * mixture.n_features).reshape(-1, mixture.n_features)
    cell = (axis[1] - axis[0]) ** mixture.n_features
    mass = cell * mixture.log_prob(grid).exp().detach()
    drawn = mass > 1e-16
    return (mass[drawn] * function(moved(mixture, grid[drawn]) @ a)).sum()


@by_structure
@pytest.mark.parametrize("n_features", [1, 2])
def test_the_density_is_carried_along(structure, n_features):
    """Sums over a grid instead of over draws leave no noise."""
    at, a = leaves(random_mixture(structure, 3, n_features)[0]), direction(n_features)
    mixture = of_leaves(structure, *at)
    for function, expectation in EXPECTATIONS:
        got = torch.autograd.grad(quadrature(mixture, function, a), at, retain_graph=True)
        expected = torch.autograd.grad(
            expectation(mixture, a), at, retain_graph=True, materialize_grads=True
        )
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@by_structure
def test_second_derivatives(structure):
    """Of components near one another: between far ones draws move so fast that no grid sees it."""
    (logits, means, *values), a = leaves(random_mixture(structure, 2, 2)[0]), direction(2)
    mixture = of_leaves(structure, logits, 0.25 * means, *values)

    def hessian(expectation):
        def function(*tensors):
            return expectation(of_leaves(structure, *tensors), a)

        return torch.autograd.functional.hessian(function, tuple(leaves(mixture)))

    got = hessian(lambda mixture, a: quadrature(mixture, torch.cos, a))
    for row, expected in zip(got, hessian(cosine), strict=True):
        torch.testing.assert_close(row, expected, rtol=1e-2, atol=1e-3)


@by_structure
@pytest.mark.parametrize("n_features", [1, 2, 4])
def test_gradients_of_draws(structure, n_features):
    """One draw of each of many mixtures gives the means of gradients and their errors."""
    n_draws, a = 4000, direction(n_features)
    one = leaves(random_mixture(structure, 3, n_features, seed=1)[0])
    one[1] = (0.5 * one[1]).detach().requires_grad_()  # far ones have gradients of heavy tails
    many = [t.detach().expand(n_draws, *t.shape).clone().requires_grad_() for t in one]
    x = of_leaves(structure, *many).rsample(generator=torch.Generator().manual_seed(0))
    for function, expectation in EXPECTATIONS:
        of_draws = torch.autograd.grad(function(x @ a).sum(), many, retain_graph=True)
        exact = torch.autograd.grad(
            expectation(of_leaves(structure, *one), a), one, materialize_grads=True
        )
        for draws, expected in zip(of_draws, exact, strict=True):
            error = draws.std(0) / n_draws**0.5
            assert ((draws.mean(0) - expected).abs() <= 6 * error + 1e-9).all()


def test_weights_leave_conditional_cdfs_as_they_are():
    """Quantiles of each dimension given those before, found anew, move as the gradients say."""
    mixture, _ = random_mixture("full", 3, 3, seed=2)
    x = mixture.sample((5,), torch.Generator().manual_seed(0))
    logits, means, values = leaves(mixture)

    def conditional(mixture, dim, rows):
        given = {at: rows[:, at] for at in range(dim)}
        first = mixture.marginal(range(dim + 1))
        return first.condition(given) if dim else first.expand((len(rows),))

    probabilities = [conditional(mixture, d, x).cdf(x[:, d : d + 1]) for d in range(3)]

    def transported(logits):
        other, rows = of_leaves("full", logits, means, values), torch.empty(5, 0).double()
        for dim, probability in enumerate(probabilities):
            new = conditional(other, dim, rows).icdf(probability)
            rows = torch.cat([rows, new], -1)
        return rows

    with torch.no_grad():
        steps = 1e-5 * torch.eye(3).double()
        expected = [(transported(logits + s) - transported(logits - s)) / 2e-5 for s in steps]
    y = moved(of_leaves("full", logits, means, values), x)
    for row in range(5):
        for dim in range(3):
            (got,) = torch.autograd.grad(y[row, dim], logits, retain_graph=True)
            slope = torch.stack([e[row, dim] for e in expected])
            torch.testing.assert_close(got, slope, rtol=1e-6, atol=1e-7)


def test_one_dimension_is_the_univariate_mixtures():
    logits, means, variances = leaves(random_mixture("spherical", 3, 1)[0])
    x = of_leaves("spherical", logits, means, variances).rsample((50,))
    univariate = UnivariateGaussianMixture(means[:, 0], variances.sqrt(), logits=logits)
    same = univariate.icdf(univariate.cdf(x.detach()[:, 0]).detach())
    got, expected = (
        torch.autograd.grad(y.sin().sum(), (logits, means, variances)) for y in (x, same)
    )
    torch.testing.assert_close(got, expected)


def test_a_batch_and_vmap_are_as_one_by_one():
    batch = [random_mixture("tied", seed=seed)[0] for seed in range(3)]
    x = torch.stack([m.sample((7,), torch.Generator().manual_seed(0)) for m in batch], 1)
    stacked = [torch.stack(t) for t in zip(*map(parameters, batch), strict=True)]

    def loss(x, *tensors):
        return moved(rebuilt("tied", *tensors, validate_args=False), x).cos().sum()

    argnums = (1, 2, 3)
    at_once = torch.func.grad(loss, argnums)(x, *stacked)
    mapped = torch.func.vmap(torch.func.grad(loss, argnums), in_dims=(1, 0, 0, 0))(x, *stacked)
    for i in range(3):
        alone = torch.func.grad(loss, argnums)(x[:, i], *(t[i] for t in stacked))
        torch.testing.assert_close(tuple(g[i] for g in at_once), alone)
        torch.testing.assert_close(tuple(g[i] for g in mapped), alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_components_of_no_weight_and_far_ones(dtype):
    weights = torch.tensor([0.5, 0.5, 0.0], dtype=dtype, requires_grad=True)
    means = torch.tensor([[-40.0, 0.0], [40.0, 1e-3], [0.0, 0.0]], dtype=dtype, requires_grad=True)
    values = torch.tensor([1e-3, 10.0, 1.0], dtype=dtype, requires_grad=True)
    mixture = GaussianMixture(weights, means, STRUCTURES["spherical"][0](values))
    x = mixture.rsample((2000,))
    assert x.dtype == dtype
    for grad in torch.autograd.grad(x.square().mean(), (weights, means, values)):
        assert grad.isfinite().all() and (grad[2] == 0).all()


def test_draws_without_gradients_are_the_same():
    mixture, _ = random_mixture()
    draws = [
        draw((3,), torch.Generator().manual_seed(1)) for draw in (mixture.sample, mixture.rsample)
    ]
    assert torch.equal(*draws) and not draws[1].requires_grad
    leaf = leaves(mixture)
    assert not of_leaves("full", *leaf).sample().requires_grad


@pytest.mark.parametrize("seed", [0, 1])
def test_a_mixture_as_a_guide_finds_both_modes(seed):
    weights, means = torch.tensor([0.3, 0.7]), torch.tensor([[-2.0, -1.0], [2.0, 1.0]])
    matrices = torch.tensor([[[0.5, 0.3], [0.3, 0.8]], [[1.0, -0.4], [-0.4, 0.6]]])
    target = GaussianMixture(weights, means, STRUCTURES["full"][0](matrices))
    noise = np.random.default_rng(seed).normal(scale=0.2, size=(2, 2))
    start = (torch.tensor([[-0.5, 0.0], [0.5, 0.0]]) + torch.tensor(noise)).float()

    def model():
        pyro.sample("z", target)

    def guide():
        logits = pyro.param("logits", torch.zeros(2))
        factor = pyro.param("factor", torch.eye(2).repeat(2, 1, 1), constraint=lower_cholesky)
        covariance = STRUCTURES["full"][0].from_factor(factor)
        fitted = GaussianMixture(logits.softmax(-1), pyro.param("means", start), covariance)
        pyro.sample("z", fitted)
        return fitted

    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    elbo = Trace_ELBO(num_particles=64, vectorize_particles=True)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), elbo)
    for _ in range(300):
        svi.step()
    with torch.no_grad():
        fitted = guide()
    pyro.clear_param_store()
    order = fitted.means[:, 0].argsort()
    assert (fitted.means[order] - means).abs().max() < 0.5
    assert (fitted.weights[order] - weights).abs().max() < 0.15
    x = target.sample((2000,))
    assert (target.log_prob(x) - fitted.log_prob(x)).mean() < 0.1
