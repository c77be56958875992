"""Uniform distributions over boxes and hulls, and mixtures beside them, against quadrature."""

import math

import numpy as np
import pandas as pd
import pyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from pyro_ugmm.distributions import (
    BackgroundMixture,
    DiagonalCovariance,
    GaussianMixture,
    UniformBox,
    UniformHull,
)

TRIANGLE = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.5, 0.5]]).double()


def mixture(n_features=2, batch=()):
    means = torch.arange(2.0 * n_features).view(2, n_features).double().expand(*batch, -1, -1)
    variances = torch.full((2, n_features), 0.5).double()
    weights = torch.tensor([0.25, 0.75]).double().expand(*batch, -1)
    return GaussianMixture(weights, means, DiagonalCovariance(variances))


def beside(background, weight=0.2, **options):
    return BackgroundMixture(mixture(**options), background, torch.tensor(weight).double())


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.sampled_from([torch.float32, torch.float64]), st.integers(0, 99))
def test_a_box_is_the_smallest_around_its_rows(n_features, dtype, seed):
    x = torch.randn(20, n_features, generator=torch.Generator().manual_seed(seed)).to(dtype)
    box = UniformBox.around(x)
    assert box.log_prob(x).isfinite().all()
    volume = float((x.amax(0) - x.amin(0)).prod())
    torch.testing.assert_close(box.log_prob(x), torch.full_like(x[:, 0], -math.log(volume)))
    beyond = x[x[:, 0].argmax()] + torch.eye(n_features, dtype=dtype)[0] * 1e-3
    assert box.log_prob(beyond) == -torch.inf
    assert box.log_prob(box.sample((50,))).isfinite().all()
    assert box.sample((50,)).dtype == dtype


def test_what_a_box_misses_is_integrated_out():
    x = torch.tensor([[0.0, 1.0], [2.0, torch.nan], [torch.nan, 5.0]]).double()
    box = UniformBox.around(x)
    assert box.low.tolist() == [0, 1] and box.high.tolist() == [2, 5]
    expected = [1 / 8, 1 / 2, 1 / 4]
    assert box.log_prob(x).exp().tolist() == pytest.approx(expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 5), st.sampled_from([torch.float32, torch.float64]), st.integers(0, 99))
def test_a_hull_holds_its_points_and_its_draws(n_features, dtype, seed):
    torch.manual_seed(seed)
    x = 10 * torch.randn(n_features + 10, n_features).to(dtype)
    hull = UniformHull.around(x)
    assert torch.equal(hull.log_prob(x), torch.full_like(x[:, 0], -math.log(hull.volume)))
    assert hull.log_prob(hull.sample((50,))).isfinite().all()
    assert hull.log_prob(3 * x[x.norm(dim=1).argmax()] - 2 * x.mean(0)) == -torch.inf


def test_a_hull_by_hand():
    hull = UniformHull(TRIANGLE)
    assert hull.volume == pytest.approx(2.0) and len(hull.vertices) == 3
    draws = hull.sample((4000,))
    assert draws.mean(0).tolist() == pytest.approx([2 / 3, 2 / 3], abs=0.06)
    below = (draws.sum(1) < 1).double().mean()  # a quarter of the triangle
    assert float(below) == pytest.approx(0.25, abs=0.04)
    assert hull.expand((3,)).sample((2,)).shape == (2, 3, 2)
    assert hull.to(torch.float32).vertices.dtype == torch.float32
    assert hull.log_prob(TRIANGLE[:0]).shape == (0,)


def test_the_density_by_hand():
    box = UniformBox(torch.tensor([-3.0]).double(), torch.tensor([5.0]).double())
    whole = beside(box, n_features=1)
    grid = [[-2.0], [0.0], [4.9], [6.0]]
    x = torch.tensor(grid).double()
    for (at,), found, outside in zip(
        grid, whole.log_prob(x).exp(), whole.background_probability(x), strict=True
    ):
        background = 0.2 / 8 * (-3 <= at <= 5)
        parts = [0.25 * stats.norm(0, 0.5**0.5).pdf(at), 0.75 * stats.norm(1, 0.5**0.5).pdf(at)]
        assert float(found) == pytest.approx(background + 0.8 * sum(parts))
        assert float(outside) == pytest.approx(background / float(found))
    total, _ = integrate.quad(
        lambda v: float(whole.log_prob(torch.tensor([v]).double()).exp()), -9, 9, points=[-3, 5]
    )
    assert total == pytest.approx(1, abs=1e-6)
    shares = whole.responsibilities(x)
    torch.testing.assert_close(shares.sum(-1), torch.ones(4).double())
    assert whole.predict(x).tolist() == [-1, 1, -1, 1]


def test_draws_are_of_the_density():
    whole = beside(UniformHull(8 * TRIANGLE + 3), 0.3)
    x, component = whole.sample_with_component((20000,))
    shares = [(component == k).double().mean() for k in (-1, 0, 1)]
    assert [float(share) for share in shares] == pytest.approx([0.3, 0.7 / 4, 0.7 * 0.75], abs=0.02)
    assert float((whole.log_prob(x)).mean()) == pytest.approx(
        float(whole.log_prob(whole.sample((20000,))).mean()), abs=0.06
    )
    assert whole.background.log_prob(x[component < 0]).isfinite().all()
    again = [whole.sample((99,), torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*again) and whole.sample((0,)).shape == (0, 2)


def test_batches_broadcast_and_gradients_reach_all():
    box = UniformBox(torch.tensor([-9.0, -9.0]).double(), torch.tensor([9.0, 9.0]).double())
    x = torch.randn(7, 2).double()
    many = BackgroundMixture(mixture(batch=(3, 1)), box, torch.tensor([[0.1], [0.2], [0.3]]))
    assert many.batch_shape == (3, 1) and many.log_prob(x).shape == (3, 7)
    assert many.expand((5, 3, 1)).sample((2,)).shape == (2, 5, 3, 1, 2)
    torch.testing.assert_close(many.log_prob(x)[1], beside(box).log_prob(x))
    means, weight = mixture().means.clone(), torch.tensor(0.2).double()
    assert torch.autograd.gradcheck(
        lambda m, w: BackgroundMixture(
            mixture().with_parameters(mixture().weights, m, mixture().covariance), box, w
        ).log_prob(x),
        (means.requires_grad_(), weight.requires_grad_()),
    )


def test_a_model_observes_it():
    box = UniformBox(torch.tensor([-9.0, -9.0]).double(), torch.tensor([9.0, 9.0]).double())
    x = torch.randn(7, 2).double()

    def model():
        weight = pyro.sample("w", pyro.distributions.Beta(1.0, 9.0))
        with pyro.plate("data", 7):
            pyro.sample("x", BackgroundMixture(mixture(), box, weight), obs=x)

    trace = pyro.poutine.trace(model).get_trace()
    assert trace.log_prob_sum().isfinite()


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, lambda x: x.tolist()])
def test_kinds_of_rows(kind):
    whole, x = beside(UniformHull(8 * TRIANGLE)), torch.randn(5, 2).double()
    torch.testing.assert_close(whole.log_prob(kind(x)), whole.log_prob(x))
    assert whole.bic(kind(x)) == pytest.approx(whole.bic(x))
    assert whole.n_parameters == whole.mixture.n_parameters + 1


X = torch.randn(9, 2)
LOW, HIGH = torch.zeros(2), torch.ones(2)
BOX = UniformBox(LOW, HIGH)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UniformBox(HIGH, LOW), "high: expected values above low"),
        (lambda: UniformBox(LOW, HIGH.double()), "high: expected torch.float32"),
        (lambda: UniformBox(LOW, HIGH[:1]), r"high: expected shape \(2,\), as low has"),
        (lambda: UniformBox(LOW[:0], HIGH[:0]), r"low: expected shape \(D,\)"),
        (
            lambda: UniformBox.around(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 3.0]})),
            r"x: expected rows that spread in each column.*got column 1 \('b'\) from 3 to 3",
        ),
        (lambda: UniformHull(X[:, :1]), r"points: expected shape \(n, D\) with D from 2 to 8"),
        (lambda: UniformHull(X[:2]), "points: expected 3 or more that are not all in one plane"),
        (lambda: UniformHull(X * torch.tensor([1.0, 0.0])), "points: expected 3 or more"),
        (lambda: UniformHull(X.log()), "points: expected finite values, got nan"),
        (lambda: BackgroundMixture(BOX, BOX, 0.1), "mixture: expected a GaussianMixture"),
        (
            lambda: BackgroundMixture(mixture(3), BOX, 0.1),
            r"background: expected a distribution of event shape \(3,\).*event shape \(2,\)",
        ),
        (
            lambda: BackgroundMixture(mixture(), torch.distributions.Uniform(LOW, HIGH), 0.1),
            r"background: .*got batch shape \(2,\) and event shape \(\)",
        ),
        (lambda: BackgroundMixture(mixture(), "box", 0.1), "background: .*got str"),
        (lambda: BackgroundMixture(mixture(), BOX, 1.1), "weight: expected a number from 0 to 1"),
        (lambda: beside(BOX).bic(X[0].double()), r"value: expected rows, shape \(n, D\)"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
