"""Mixtures over products of univariate mixtures against scipy, quadrature and brute force."""

import itertools

import numpy as np
import pandas as pd
import pyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoDelta
from scipy.special import logsumexp

from pyro_ugmm.distributions import (
    DiagonalCovariance,
    GaussianMixture,
    UGMMMixture,
    UnivariateGaussianMixture,
    impute,
)

from .products import grid, log_joint_of, random_product, some_rows

NAN = torch.nan
dtypes = st.sampled_from([torch.float32, torch.float64])


def as_gaussian(mixture):
    """The diagonal mixture that a mixture with one Gaussian per node is."""
    nodes = mixture.nodes
    covariance = DiagonalCovariance(nodes.scale[..., 0].square())
    return GaussianMixture(mixture.weights, nodes.loc[..., 0], covariance, missing=mixture.missing)


# -- densities ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), dtypes, st.integers(0, 99))
def test_densities_are_scipys(n_components, n_features, n_gaussians, dtype, seed):
    mixture = random_product(n_components, n_features, n_gaussians, seed=seed, dtype=dtype)
    x = some_rows(7, n_features, seed, dtype)
    expected = np.stack([log_joint_of(mixture, row) for row in x])
    tolerance = 1e-10 if dtype == torch.float64 else 2e-4
    got = mixture.log_prob(x)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, logsumexp(expected, axis=-1), rtol=tolerance, atol=tolerance)
    shares = np.exp(expected - logsumexp(expected, axis=-1, keepdims=True))
    np.testing.assert_allclose(mixture.responsibilities(x), shares, atol=10 * tolerance)
    assert torch.equal(mixture.predict(x), mixture.responsibilities(x).argmax(-1))


def test_many_rows_are_evaluated_in_blocks_to_the_same_numbers():
    mixture = random_product(4, 8, 3)
    x = some_rows(9_000, 8)
    whole = mixture.expand((1,)).log_prob(x)  # batches are evaluated at once
    torch.testing.assert_close(mixture.log_prob(x), whole, rtol=1e-13, atol=0)
    torch.testing.assert_close(mixture.log_prob(x.view(90, 100, 8)), whole.view(90, 100))
    assert mixture.responsibilities(x.view(90, 100, 8)).shape == (90, 100, 4)


def test_with_one_gaussian_it_is_a_diagonal_mixture():
    mixture = random_product(3, 4, 1, missing="marginalize")
    theirs = as_gaussian(mixture)
    x = some_rows(20, 4)
    x[3, 1] = x[5, 0] = x[5, 2] = NAN
    torch.testing.assert_close(mixture.log_prob(x), theirs.log_prob(x))
    torch.testing.assert_close(mixture.responsibilities(x), theirs.responsibilities(x))
    torch.testing.assert_close(mixture.mean, theirs.mean)
    torch.testing.assert_close(mixture.covariance_matrix, theirs.covariance_matrix)
    assert mixture.n_parameters == theirs.n_parameters
    ours, other = mixture.condition({1: 0.3}), theirs.condition({1: 0.3})
    kept = [0, 2, 3]
    torch.testing.assert_close(ours.log_prob(x[:3, kept]), other.log_prob(x[:3, kept]))
    whole = x.nan_to_num()
    assert mixture.bic(whole) == pytest.approx(theirs.bic(whole))


def test_one_component_is_a_product_of_univariate_mixtures():
    mixture = random_product(1, 3, 4)
    x = some_rows(10, 3)
    product = sum(mixture.marginal([d]).log_prob(x[:, [d]]) for d in range(3))
    torch.testing.assert_close(mixture.log_prob(x), product)
    torch.testing.assert_close(mixture.log_prob(x), mixture.nodes.log_prob(x)[:, :].sum(-1))


def test_far_rows_keep_finite_answers():
    mixture = random_product(3, 2, 2, dtype=torch.float32)
    x = torch.full((1, 2), 1e25).requires_grad_()
    shares = mixture.responsibilities(x)
    torch.testing.assert_close(shares, torch.full((1, 3), 1 / 3))
    assert mixture.log_prob(x) == -torch.inf
    assert mixture.condition({0: 1e25}).weights.isfinite().all()


# -- quadrature ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n_features", [1, 2])
def test_it_integrates_to_one_with_its_moments(n_features):
    mixture = random_product(3, n_features, 2)
    places, step = grid(count=401)
    x = torch.cartesian_prod(*[places] * n_features).view(-1, n_features)
    mass = mixture.log_prob(x).exp() * step**n_features
    assert mass.sum().item() == pytest.approx(1, abs=1e-9)
    mean = mass @ x
    torch.testing.assert_close(mixture.mean, mean)
    deviations = x - mean
    covariance = (mass[:, None] * deviations).T @ deviations
    torch.testing.assert_close(mixture.covariance_matrix, covariance)
    torch.testing.assert_close(mixture.variance, covariance.diagonal())


def test_marginals_and_conditionals_are_quotients_of_integrals():
    mixture = random_product(3, 2, 2)
    places, step = grid(count=401)
    x = torch.cartesian_prod(places, places)
    joint = mixture.log_prob(x).exp().view(401, 401)
    marginal = mixture.marginal([0]).log_prob(places[:, None]).exp()
    torch.testing.assert_close(marginal, joint.sum(1) * step)
    at = 190
    conditional = mixture.condition({0: places[at]}).log_prob(places[:, None]).exp()
    torch.testing.assert_close(conditional, joint[at] / (joint[at].sum() * step))
    swapped = mixture.marginal([1, 0]).log_prob(x.flip(-1))
    torch.testing.assert_close(swapped, mixture.log_prob(x))


def test_what_is_missing_is_integrated_out():
    mixture = random_product(3, 3, 2, missing="marginalize")
    x = some_rows(12, 3)
    x[::2, 0], x[::3, 2] = NAN, NAN
    expected = [logsumexp(log_joint_of(mixture, row)) for row in x]
    np.testing.assert_allclose(mixture.log_prob(x), expected, rtol=1e-12)
    places, step = grid(count=2001)
    rows = torch.stack([places, torch.full_like(places, 0.7), torch.full_like(places, -1)], -1)
    integral = mixture.log_prob(rows).exp().sum() * step
    torch.testing.assert_close(
        mixture.log_prob(torch.tensor([NAN, 0.7, -1]).double()).exp(), integral
    )
    x = x.requires_grad_()
    gradient = torch.autograd.grad(mixture.log_prob(x).sum(), x)[0]
    assert (gradient[x.isnan()] == 0).all() and gradient.isfinite().all()


def test_boxes_have_their_probability():
    mixture = random_product(3, 2, 2)
    places, step = grid(-12, 12, 2401)
    middle = places[:-1] + step / 2
    low, high = torch.tensor([-1.0, 0.5]).double(), torch.tensor([2.0, 3.0]).double()
    inside = [middle[(middle > a) & (middle < b)] for a, b in zip(low, high, strict=True)]
    expected = mixture.log_prob(torch.cartesian_prod(*inside)).exp().sum() * step**2
    assert mixture.interval_probability(low, high).item() == pytest.approx(
        expected.item(), rel=1e-4
    )
    edges = [[-torch.inf, -1.0, 0.5, torch.inf]] * 2
    cells = [[*itertools.pairwise(one)] for one in edges]
    boxes = torch.tensor([*itertools.product(*cells)]).double()
    parts = mixture.interval_probability(boxes[..., 0], boxes[..., 1])
    assert parts.sum().item() == pytest.approx(1, abs=1e-14)
    below = mixture.cdf(high)
    assert below.item() == pytest.approx(
        mixture.interval_probability(-torch.inf, high).item(), abs=1e-15
    )
    one = mixture.marginal([1])
    for value in (-2.0, 0.3):
        nodes = UnivariateGaussianMixture(
            one.nodes.loc.flatten(),
            one.nodes.scale.flatten(),
            probs=(one.weights[:, None, None] * one.nodes.probs).flatten(),
        )
        assert one.cdf([value]).item() == pytest.approx(
            nodes.cdf(torch.tensor(value).double()).item()
        )


def test_probabilities_are_exact_in_both_tails():
    nodes = UnivariateGaussianMixture(*torch.tensor([[[[0.0]]], [[[1.0]]], [[[0.0]]]]).double())
    mixture = UGMMMixture(torch.ones(1).double(), nodes)
    above, below = mixture.interval_probability([20.0], torch.inf), mixture.cdf([-20.0])
    assert above == below > 0
    assert mixture.to(torch.float32).cdf(torch.tensor([0.0])).dtype == torch.float32


# -- draws --------------------------------------------------------------------------------------


def test_draws_are_of_the_mixture():
    mixture = random_product(3, 2, 2, batch=(2,))
    x, component = mixture.sample_with_component((40_000,), torch.Generator().manual_seed(0))
    assert x.shape == (40_000, 2, 2) and component.shape == (40_000, 2)
    error = (mixture.variance / len(x)).sqrt()
    assert ((x.mean(0) - mixture.mean).abs() < 5 * error).all()
    for b in range(2):
        one = mixture.reindex(lambda t, b=b: t[b])
        low = torch.tensor([-0.5, -1.0]).double()
        share = (x[:, b] > low).all(-1).double().mean()
        assert abs(share - one.interval_probability(low, torch.inf)) < 0.013
        count = component[:, b].bincount(minlength=3) / len(x)
        assert (count - one.weights).abs().max() < 0.013
        for c in range(3):
            mine = x[component[:, b] == c, b]
            assert ((mine.mean(0) - one.nodes.mean[c]).abs() < 0.06).all()
    assert mixture.sample((0,)).shape == (0, 2, 2)
    again = mixture.sample((3,), torch.Generator().manual_seed(7))
    assert torch.equal(again, mixture.sample((3,), torch.Generator().manual_seed(7)))


def test_missing_entries_are_imputed():
    mixture = random_product(3, 3, 2)
    x = some_rows(6, 3)
    x[1, 0] = x[2, 1] = x[2, 2] = NAN
    x[3] = NAN
    filled = impute(mixture, x)
    torch.testing.assert_close(filled[1, 0], mixture.condition({1: x[1, 1], 2: x[1, 2]}).mean[0])
    torch.testing.assert_close(filled[2, 1:], mixture.condition({0: x[2, 0]}).mean)
    torch.testing.assert_close(filled[3], mixture.mean)
    assert torch.equal(filled[~x.isnan()], x[~x.isnan()])
    draws = impute(mixture, pd.DataFrame(x.numpy(), columns=["a", "b", "c"]), 2, seed=0)
    assert len(draws) == 2 and list(draws[0].columns) == ["a", "b", "c"]


# -- as Pyro's and torch's ----------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from([(), (2,), (3, 1)]),
    st.sampled_from([(), (2,), (4, 1, 2)]),
    st.integers(1, 3),
    dtypes,
)
def test_batches_broadcast(batch, rows, n_features, dtype):
    mixture = random_product(2, n_features, 2, batch=batch, dtype=dtype)
    x = some_rows(torch.Size(rows).numel(), n_features, dtype=dtype).view(*rows, n_features)
    shape = torch.broadcast_shapes(batch, rows)
    got = mixture.log_prob(x)
    assert got.shape == shape and mixture.responsibilities(x).shape == (*shape, 2)
    flat = x.expand(*shape, n_features).reshape(-1, n_features)
    each = torch.arange(torch.Size(batch).numel()).view(batch).expand(shape).flatten()
    for row, value, at in zip(flat, got.flatten(), each, strict=True):
        one = mixture.reindex(lambda t, at=at: t.flatten(0, len(batch) - 1)[at] if batch else t)
        torch.testing.assert_close(one.log_prob(row), value)
    assert mixture.expand((5, *shape)).batch_shape == (5, *shape)
    assert mixture.sample((3,)).shape == (3, *batch, n_features)
    given_rows = mixture.condition({0: x[..., 0]}) if n_features > 1 else None
    assert given_rows is None or given_rows.batch_shape == shape


def test_gradients_are_right():
    start = random_product(2, 2, 2, missing="marginalize")
    x = some_rows(3, 2)

    def log_prob(logits, loc, scale, node_logits, x):
        nodes = UnivariateGaussianMixture(loc, scale, logits=node_logits, validate_args=False)
        mixture = UGMMMixture(logits.softmax(-1), nodes, missing="marginalize", validate_args=False)
        return (
            mixture.log_prob(x),
            mixture.responsibilities(x),
            mixture.condition({0: x[:, 0]}).mean,
            mixture.interval_probability(-torch.inf, x),
        )

    nodes = start.nodes
    inputs = start.log_weights, nodes.loc, nodes.scale, nodes.logits, x
    assert torch.autograd.gradcheck(log_prob, [part.clone().requires_grad_() for part in inputs])


def test_rows_may_come_in_any_holder():
    mixture = random_product(2, 2, 2, dtype=torch.float32, missing="marginalize")
    x = some_rows(5, 2).numpy()
    x[0, 0] = np.nan
    expected = mixture.to(torch.float64).log_prob(torch.tensor(x))
    frame = pd.DataFrame(x, columns=["a", "b"])
    masked = np.ma.masked_invalid(x)
    for holder in (x, frame, masked, x.tolist()):
        torch.testing.assert_close(mixture.log_prob(holder), expected)


def test_pyro_learns_it_by_svi():
    """Clusters that no Gaussian is like, with priors over all parameters."""
    generator = torch.Generator().manual_seed(0)
    truth = random_product(2, 2, 2, seed=3, dtype=torch.float32)
    x = truth.sample((400,), generator)
    pyro.clear_param_store()
    pyro.set_rng_seed(0)

    def model(x):
        weights = pyro.sample("weights", pyro.distributions.Dirichlet(torch.ones(2)))
        ones = torch.ones(2, 2, 2)
        probs = pyro.sample("probs", pyro.distributions.Dirichlet(ones).to_event(2))
        loc = pyro.sample("loc", pyro.distributions.Normal(0 * ones, 3.0).to_event(3))
        variances = pyro.sample("variances", pyro.distributions.InverseGamma(ones, 0.5).to_event(3))
        nodes = UnivariateGaussianMixture(loc, variances.sqrt(), probs=probs)
        with pyro.plate("data", len(x)):
            pyro.sample("x", UGMMMixture(weights, nodes), obs=x)

    guide = AutoDelta(model, init_loc_fn=pyro.infer.autoguide.init_to_sample)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    losses = [svi.step(x) for _ in range(250)]
    found = guide()
    nodes = UnivariateGaussianMixture(found["loc"], found["variances"].sqrt(), probs=found["probs"])
    learned = UGMMMixture(found["weights"], nodes)
    new = truth.sample((2_000,), generator)
    assert losses[-1] < losses[0]
    assert (truth.log_prob(new) - learned.log_prob(new)).mean() < 0.1
    pyro.clear_param_store()


# -- bad arguments ------------------------------------------------------------------------------

W, NODES = torch.tensor([0.4, 0.6]), random_product(2, 3, 2, dtype=torch.float32).nodes
GOOD = UGMMMixture(W, NODES)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UGMMMixture(W, NODES.loc), "nodes: expected a UnivariateGaussianMixture, got T"),
        (lambda: UGMMMixture(W[:1], NODES), r"weights: expected 2 components, as nodes has, got"),
        (lambda: UGMMMixture(W.double(), NODES), "weights: expected torch.float32, as nodes has"),
        (lambda: UGMMMixture(W * 2, NODES), "weights: expected weights that sum to one"),
        (lambda: UGMMMixture(-W, NODES), "weights: expected non-negative values"),
        (lambda: UGMMMixture(W.half(), NODES), "weights: expected torch.float32 or torch.float64"),
        (lambda: UGMMMixture(W, NODES, missing="omit"), "missing: expected one of 'error', 'margi"),
        (
            lambda: UGMMMixture(W, UnivariateGaussianMixture(W, W, logits=W)),
            r"nodes: expected a batch of shape \(..., C, D\), got batch shape \(\)",
        ),
        (lambda: UGMMMixture(W.expand(3, 2), NODES.expand((2, 2, 3))), "batch shapes that broadc"),
        (lambda: GOOD.log_prob(torch.zeros(5, 2)), "value: expected 3 features in the last dimen"),
        (lambda: GOOD.log_prob(torch.zeros(5, 3).double()), "value: expected torch.float32, as m"),
        (lambda: GOOD.log_prob(torch.full((3,), NAN)), r"value: expected finite values \(missing="),
        (lambda: GOOD.marginal([3]), "dims: expected distinct dimensions between 0 and 2"),
        (lambda: GOOD.condition({0: NAN}), "values: expected finite values, got nan"),
        (
            lambda: GOOD.condition({0: 1, 1: 1, 2: 1}),
            "values: expected fewer than all 3 dimensions",
        ),
        (lambda: GOOD.condition([0]), "values: expected a mapping from dimensions to their values"),
        (
            lambda: GOOD.interval_probability(W, W),
            "high: expected 3 features in the last dimension",
        ),
        (
            lambda: GOOD.interval_probability(torch.ones(3), torch.zeros(3)),
            "low: expected edges that are at most those of high",
        ),
        (lambda: GOOD.cdf(torch.full((3,), NAN)), "value: expected numbers that are not NaN"),
        (lambda: GOOD.expand((2,)).bic(torch.zeros(4, 3)), "mixture: expected a batch of one"),
        (lambda: GOOD.expand((2,)).expand((3,)), r"batch_shape: expected a shape that \(2,\) exp"),
        (lambda: impute(GOOD, torch.zeros(3)), r"x: expected shape \(n, 3\), got \(3,\)"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_has_no_closed_form_is_refused_in_words():
    for ask in (GOOD.entropy, lambda: GOOD.mode, GOOD.enumerate_support):
        with pytest.raises(NotImplementedError, match="mixture"):
            ask()
