"""Rows and values so far away that densities underflow even in logarithms."""

import mpmath
import pytest
import torch

from pyro_ugmm.distributions import (
    GaussianMixture,
    SphericalCovariance,
    UnivariateGaussianMixture,
)
from tests.distributions.mixtures import by_structure, parameters, random_mixture, rebuilt

INF = torch.inf
FAR = [1e20, -1e20, 1e30, -3e38, 0.5]
LOC, SCALE = torch.tensor([-1.0, 2.0, 0.0]), torch.tensor([1.0, 3.0, 0.5])
LOGITS = torch.tensor([0.5, -1.0, 2.0])


def univariate(loc=LOC, scale=SCALE, logits=LOGITS, dtype=torch.float32):
    return UnivariateGaussianMixture(loc.to(dtype), scale.to(dtype), logits=logits.to(dtype))


@pytest.mark.parametrize(
    ("loc", "scale", "logits", "plus", "minus"),
    [
        ([0, 1], [1, 2], [0, 0], [0, 1], [0, 1]),  # the wider one, whatever its weight
        ([0, 1], [2, 1], [-30, 0], [1, 0], [1, 0]),
        ([0, 1], [1, 1], [0, 0], [0, 1], [1, 0]),  # of equal scales, the nearer
        ([0, 0], [1, 1], [1, 1], [0.5, 0.5], [0.5, 0.5]),
        ([3, 3, 3], [1, 1, 1], [0, 1, -INF], [0.2689, 0.7311, 0], [0.2689, 0.7311, 0]),
        ([0, 1], [1, 2], [0, -INF], [1, 0], [1, 0]),  # a weight of zero is none
        ([1e5, -1e5], [1e-3, 1e-3], [0, 0], [1, 0], [0, 1]),
        ([1e25, 2e25], [1, 1], [0, 0], [0, 1], [1, 0]),
        ([0, 1], [1e-25, 1e-20], [0, 0], [0, 1], [0, 1]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_values_belong_to_a_component(loc, scale, logits, plus, minus, dtype):
    kind = {"dtype": dtype}
    d = univariate(*(torch.tensor(p, **kind) for p in (loc, scale, logits)), dtype=dtype)
    far = 1e37 if dtype == torch.float32 else 1e300
    for value, expected in ((far, plus), (INF, plus), (-far, minus), (-INF, minus)):
        found = d.responsibilities(torch.tensor(value, **kind))
        torch.testing.assert_close(found, torch.tensor(expected, **kind), rtol=0, atol=1e-4)
        rows = d.responsibilities(torch.tensor([value, d.loc[0]], **kind))
        torch.testing.assert_close(rows[0], found)
        assert rows[1].sum().item() == pytest.approx(1)


def test_far_values_are_those_of_more_digits():
    value = torch.tensor(FAR)
    found = univariate().responsibilities(value)
    expected = univariate(dtype=torch.float64).responsibilities(value.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [[1, 1, 1], [0.01, 0.01, 0.01], [50, 50, 50], [3, 3, 2.99999]])
@pytest.mark.parametrize("value", [30.0, -1e3, 1e5, -3e6, 1e9, -1e13, 1e17])
def test_rounding_does_not_make_far_components_equal(scale, value):
    """Differences of log densities that are exact where they have 700 digits."""
    mpmath.mp.dps = 700
    scale, value = torch.tensor(scale), torch.tensor(value)
    found = univariate(LOC, scale).responsibilities(value)
    parts = zip(LOGITS.tolist(), LOC.tolist(), scale.tolist(), strict=True)
    exact = [
        mpmath.mpf(logit) - mpmath.log(s) - ((value.item() - mpmath.mpf(m)) / s) ** 2 / 2
        for logit, m, s in parts
    ]
    shares = [mpmath.exp(term - max(exact)) for term in exact]
    expected = torch.tensor([float(share / sum(shares)) for share in shares])
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


def test_components_that_are_equal_share_far_values_with_gradients():
    logits = torch.tensor([0.3, 0.1], requires_grad=True)
    d = univariate(torch.zeros(2), torch.ones(2), logits)
    found = d.responsibilities(torch.tensor([1e3, 1e6, 1e15]))
    torch.testing.assert_close(found, d.probs.expand(3, 2))
    (gradient,) = torch.autograd.grad(found[:, 0].sum(), logits)
    expected = 3 * d.probs.prod().item()
    torch.testing.assert_close(gradient, torch.tensor([expected, -expected]))


@pytest.mark.parametrize("scale", [[1e-30, 1], [1, 1e30], [1e-38, 1e38], [1e-38, 1]])
@pytest.mark.parametrize("value", [0.0, 1e5, 1e10, -1e38, INF])
@pytest.mark.parametrize("method", ["log_prob", "responsibilities"])
def test_scales_far_apart(scale, value, method):
    tensors = [torch.tensor(t) for t in ([0.0, 1.0], scale, [0.3, 0.1])]
    value = torch.tensor(value)
    found = getattr(univariate(*tensors), method)(value)
    expected = getattr(univariate(*tensors, dtype=torch.float64), method)(value.double())
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-4)

    def evaluate(value, *parameters):
        found = getattr(univariate(*parameters), method)(value)
        return found if method == "log_prob" else found[..., 0]

    gradients = _gradients(evaluate, (value, *tensors))
    assert not torch.cat([g.flatten() for g in gradients]).isnan().any()


def _gradients(function, tensors):
    tensors = [t.clone().requires_grad_() for t in tensors]
    return torch.autograd.grad(function(*tensors).sum(), tensors)


def _univariate_log_prob(value, loc, logits):
    return univariate(loc, logits=logits, dtype=loc.dtype).log_prob(value)


@pytest.mark.parametrize("transform", [False, True])
def test_gradients_of_far_values(transform):
    """As where numbers have more digits; those with respect to scales overflow."""
    tensors = torch.tensor(FAR[:3] + FAR[4:]), LOC, LOGITS
    if transform:
        found = torch.func.grad(lambda *t: _univariate_log_prob(*t).sum(), (0, 1, 2))(*tensors)
    else:
        found = _gradients(_univariate_log_prob, tensors)
    expected = _gradients(_univariate_log_prob, [t.double() for t in tensors])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["log_prob", "responsibilities", "cdf"])
@pytest.mark.parametrize("value", [*FAR, INF, -INF])
def test_no_gradient_of_the_univariate_mixture_is_lost(method, value):
    def evaluate(value, loc, scale, logits):
        found = getattr(univariate(loc, scale, logits), method)(value)
        return found[..., :2] if method == "responsibilities" else found

    found = _gradients(evaluate, (torch.tensor([value, 0.3]), LOC, SCALE, LOGITS))
    assert not torch.cat(found).isnan().any()
    assert torch.cat([found[0][1:], *found[2:]]).isfinite().all()


def test_quantiles_at_the_ends_have_no_gradients():
    def evaluate(q, loc, scale, logits):
        return univariate(loc, scale, logits).icdf(q)[1:-1]

    found = _gradients(evaluate, (torch.tensor([0, 0.5, 1]), LOC, SCALE, LOGITS))
    assert torch.cat(found).isfinite().all()


@by_structure
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("method", ["log_prob", "responsibilities", "condition"])
def test_gradients_of_far_rows(structure, missing, method):
    mixture, _ = random_mixture(structure, 3, 3)
    x = torch.tensor([[1e20, 0, 1], [-1e21, 1e20, 3], [0.5, 0, 0]], dtype=torch.float64)
    if missing:
        x[:, 1] = torch.nan

    def evaluate(*tensors):
        *others, x = tensors
        other = rebuilt(structure, *others, missing="marginalize")
        if method == "condition":
            return other.condition({0: x[:, 0]}).weights[:, 1:]
        found = getattr(other, method)(x)
        return found if method == "log_prob" else found[:, 1:]

    tensors = (*parameters(mixture), x)
    found = _gradients(evaluate, [t.float() for t in tensors])
    assert all(gradient.isfinite().all() for gradient in found)
    if structure == "tied":  # what tells its components apart, float64 cannot hold either
        return
    expected = _gradients(evaluate, tensors)
    for at in (1, -1):
        torch.testing.assert_close(found[at].double(), expected[at], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [1e3, -1e5, 1e8, 1e12])
def test_equal_components_count_once(value, dtype):
    """Each of two that are the same has half of the gradient, however far the value."""
    value = torch.tensor([value], dtype=dtype, requires_grad=True)
    loc, scale = torch.zeros(2, dtype=dtype), torch.full((2,), 2.0, dtype=dtype)
    alone = torch.distributions.Normal(loc[0], scale[0])
    covariance = SphericalCovariance(scale.square())
    for log_prob in (
        UnivariateGaussianMixture(loc, scale, probs=torch.ones_like(loc)).log_prob,
        GaussianMixture(torch.full_like(loc, 0.5), loc.unsqueeze(-1), covariance).log_prob,
    ):
        x = value if log_prob.__self__.event_shape == () else value.unsqueeze(-1)
        found, expected = log_prob(x).sum(), alone.log_prob(value).sum()
        torch.testing.assert_close(found, expected)
        found, expected = (torch.autograd.grad(f, value)[0] for f in (found, expected))
        torch.testing.assert_close(found, expected)
