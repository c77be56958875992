import math

import hypothesis.strategies as st
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from pyro.distributions.testing.gof import auto_goodness_of_fit
from scipy import integrate, stats

from pyro_ugmm.distributions import UnivariateGaussianMixture

LOC, SCALE, PROBS = [-2.0, 0.5, 3.0], [0.5, 1.0, 0.2], [0.3, 0.5, 0.2]
EPSILON = {dtype: torch.finfo(dtype).eps for dtype in (torch.float32, torch.float64)}


def mixture(dtype=torch.float64, device="cpu", **kwargs):
    kind = {"dtype": dtype, "device": device}
    return UnivariateGaussianMixture(
        torch.tensor(LOC, **kind),
        torch.tensor(SCALE, **kind),
        probs=torch.tensor(PROBS, **kind),
        **kwargs,
    )


def scipy_pdf(y):
    return sum(w * stats.norm.pdf(y, m, s) for w, m, s in zip(PROBS, LOC, SCALE, strict=True))


def scipy_cdf(y):
    return sum(w * stats.norm.cdf(y, m, s) for w, m, s in zip(PROBS, LOC, SCALE, strict=True))


@st.composite
def mixtures(draw, dtype):
    """Mixtures of up to ten components, at scales and weights of any size."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = (*draw(st.lists(st.integers(1, 3), max_size=2)), draw(st.integers(1, 10)))
    size = 10.0 ** draw(st.integers(-3, 3))
    loc = size * torch.randn(shape, generator=generator, dtype=dtype)
    scale = size * 10 ** (4 * torch.rand(shape, generator=generator, dtype=dtype) - 3)
    logits = draw(st.sampled_from([0.0, 1.0, 10.0])) * torch.randn(
        shape, generator=generator, dtype=dtype
    )
    if shape[-1] > 1 and draw(st.booleans()):
        logits[..., 0] = -math.inf
    return UnivariateGaussianMixture(loc, scale, logits=logits)


def test_is_pyros_mixture_of_normals():
    d = mixture()
    assert isinstance(d, dist.MixtureSameFamily)
    assert isinstance(d.mixture_distribution, dist.Categorical)
    assert isinstance(d.component_distribution, dist.Normal)
    assert d.event_shape == () and d.batch_shape == () and d.n_components == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_density_and_cdf_match_scipy(dtype, device):
    y = np.linspace(-8, 8, 201)
    d = mixture(dtype, device)
    value = torch.tensor(y, dtype=dtype, device=device)
    rtol = 500 * EPSILON[dtype]
    log_prob, cdf = d.log_prob(value).cpu().double(), d.cdf(value).cpu().double()
    np.testing.assert_allclose(log_prob, np.log(scipy_pdf(y)), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(cdf, scipy_cdf(y), rtol=rtol)


def test_lower_tail_of_the_cdf_keeps_its_digits():
    y = torch.tensor([-5.0, -10.0, -15.0], dtype=torch.float64)
    np.testing.assert_allclose(mixture().cdf(y), scipy_cdf(y.numpy()), rtol=1e-12)


def test_quadrature_of_density_and_moments():
    d = mixture()

    def integral(f):
        points = [-2, 0.5, 3]
        return integrate.quad(
            lambda y: f(y) * float(d.log_prob(torch.tensor(y)).exp()),
            -20,
            20,
            points=points,
            limit=400,
        )[0]

    mean = integral(lambda y: y)
    assert integral(lambda y: 1.0) == pytest.approx(1, abs=1e-7)
    assert d.mean.item() == pytest.approx(mean, abs=1e-6)
    assert d.variance.item() == pytest.approx(integral(lambda y: (y - mean) ** 2), abs=1e-6)


def test_responsibilities_are_bayes_rule():
    y = torch.linspace(-3, 4, 50, dtype=torch.float64)
    expected = (
        np.stack(
            [w * stats.norm.pdf(y, m, s) for w, m, s in zip(PROBS, LOC, SCALE, strict=True)], -1
        )
        / scipy_pdf(y.numpy())[:, None]
    )
    np.testing.assert_allclose(mixture().responsibilities(y), expected, rtol=1e-12)
    far = mixture().responsibilities(torch.tensor([1e6, -1e6], dtype=torch.float64))
    assert far.isfinite().all() and torch.allclose(far.sum(-1), torch.ones(2).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_icdf_inverts_the_cdf(dtype, data):
    """The error of cdf(icdf(q)) is at most what rounding q and the root makes unavoidable."""
    d = data.draw(mixtures(dtype))
    lowest = -300.0 if dtype == torch.float64 else -30.0
    tail = 10 ** (lowest * torch.rand(20, dtype=dtype))
    q = torch.cat([torch.rand(20, dtype=dtype), tail, 1 - 10 ** (-5 * torch.rand(20, dtype=dtype))])
    q = q.clamp(max=1 - EPSILON[dtype]).reshape(-1, *[1] * len(d.batch_shape))
    y = d.icdf(q)
    assert y.shape == q.expand(-1, *d.batch_shape).shape
    z = (y.unsqueeze(-1) - d.loc) / d.scale
    # dF for a relative change of one in every z, and in y
    slope = (d.probs * torch.exp(-0.5 * z * z) * (z.abs() + y.abs().unsqueeze(-1) / d.scale)).sum(
        -1
    )
    bound = 8 * EPSILON[dtype] * (q + slope) + 10 * torch.finfo(dtype).tiny
    neighbors = [d.cdf(torch.nextafter(y, torch.full_like(y, side))) for side in (-1e30, 1e30)]
    brackets = (neighbors[0] <= q) & (q <= neighbors[1])
    assert (((d.cdf(y) - q).abs() <= bound) | brackets).all()


def test_icdf_reaches_far_tails_and_through_gaps():
    loc, scale, probs = torch.tensor([[-1e4, 1e4], [1e-3, 1.0], [1e-12, 1.0]], dtype=torch.float64)
    d = UnivariateGaussianMixture(loc, scale, probs=probs)
    q = torch.tensor([1e-300, 1e-20, 1e-12, 2e-12, 0.5, 1 - 1e-15], dtype=torch.float64)
    y = d.icdf(q)
    # Below the small weight the quantile is the first component's, at q over its weight.
    expected = -1e4 + 1e-3 * stats.norm.ppf([1e-288, 1e-8])
    np.testing.assert_allclose(y[:2], expected, rtol=1e-14)
    assert (y.diff() > 0).all()
    np.testing.assert_allclose(y[-1], 1e4 + stats.norm.isf(1 - (1 - 1e-15)), rtol=1e-12)


def test_icdf_at_the_ends():
    y = mixture().icdf(torch.tensor([0.0, 1.0]).double())
    assert y.tolist() == [-math.inf, math.inf]
    for q in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"value: expected probabilities in \[0, 1\]"):
            mixture().icdf(torch.tensor(q))


def test_samples_fit_the_density(device):
    d = mixture(torch.float32, device)
    for draw in (d.sample, d.rsample):
        samples = draw((50_000,))
        assert auto_goodness_of_fit(samples.cpu(), d.log_prob(samples).exp().cpu()) > 1e-3


def test_sample_with_component():
    d = mixture().expand((2, 1))
    value, component = d.sample_with_component((40_000,))
    assert value.shape == component.shape == (40_000, 2, 1)
    frequency = torch.bincount(component.flatten()) / component.numel()
    np.testing.assert_allclose(frequency, PROBS, atol=0.01)
    for k in range(3):
        kept = value[component == k]
        test = stats.kstest(kept.numpy(), stats.norm(LOC[k], SCALE[k]).cdf)
        assert test.pvalue > 1e-3


def parameters(*shape):
    return [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for _ in range(3)]


def test_gradcheck_of_density_and_quantile():
    loc, log_scale, logits = parameters(2, 4)
    y = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    q = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    extreme = torch.tensor([[1e-9, 1 - 1e-9]], dtype=torch.float64)

    def make(loc, log_scale, logits):
        return UnivariateGaussianMixture(loc, log_scale.exp(), logits=logits)

    for function, point in (
        (lambda *p: make(*p[1:]).log_prob(p[0]), y),
        (lambda *p: make(*p[1:]).cdf(p[0]), y),
        (lambda *p: make(*p[1:]).icdf(p[0]), q),
    ):
        assert torch.autograd.gradcheck(function, (point, loc, log_scale, logits))
        assert torch.autograd.gradgradcheck(function, (point, loc, log_scale, logits))
    assert torch.autograd.gradcheck(lambda *p: make(*p).icdf(extreme), (loc, log_scale, logits))


def test_pathwise_gradients_hold_the_cdf_fixed():
    loc, log_scale, logits = parameters(4)
    d = UnivariateGaussianMixture(loc, log_scale.exp(), logits=logits)
    y = d.rsample((100,))
    same = d.icdf(d.cdf(y).detach())
    torch.testing.assert_close(y, same)

    def gradients(value):
        return torch.autograd.grad(value.sum(), (loc, log_scale, logits), retain_graph=True)

    for got, expected in zip(gradients(y), gradients(same), strict=True):
        torch.testing.assert_close(got, expected)


def test_pathwise_gradients_of_moments_match_the_analytic_ones():
    loc, log_scale, logits = parameters(3)
    d = UnivariateGaussianMixture(loc, log_scale.exp(), logits=logits)
    y = d.rsample((200_000,))
    inputs = (loc, log_scale, logits)
    # Batches give the standard error of each gradient.
    batches = y.reshape(50, -1)
    for power, analytic in ((1, d.mean), (2, d.variance + d.mean**2)):
        exact = torch.cat(
            torch.autograd.grad(analytic, inputs, retain_graph=True, materialize_grads=True)
        )
        noisy = torch.stack(
            [
                torch.cat(torch.autograd.grad((batch**power).mean(), inputs, retain_graph=True))
                for batch in batches
            ]
        )
        error = noisy.std(0) / 50**0.5
        assert ((noisy.mean(0) - exact).abs() < 4.5 * error + 1e-9).all()


def test_gradients_stay_finite_at_zero_weights_and_in_the_tails():
    loc, scale = torch.tensor([0.0, 5.0, 9.0]), torch.tensor([1.0, 1e-3, 2.0])
    logits = torch.tensor([0.0, -math.inf, 1.0])
    for tensor in (loc, scale, logits):
        tensor.requires_grad_()
    d = UnivariateGaussianMixture(loc, scale, logits=logits)
    y = torch.tensor([-1e6, 0.0, 5.0, 1e6])
    values = (
        d.log_prob(y),
        d.cdf(y),
        d.icdf(torch.tensor([0.0, 1e-30, 0.5, 1 - 1e-7, 1.0])),
        d.rsample((100,)),
    )
    for value in values:
        finite = value[value.isfinite()]
        assert len(finite) > 0
        for gradient in torch.autograd.grad(finite.sum(), (loc, scale, logits), retain_graph=True):
            assert gradient.isfinite().all()


def test_batches_broadcast_and_expand():
    loc, scale, logits = torch.randn(5, 1, 3), torch.rand(4, 3) + 0.1, torch.randn(3)
    d = UnivariateGaussianMixture(loc, scale, logits=logits)
    assert d.batch_shape == (5, 4)
    wide = d.expand((2, 5, 4))
    assert type(wide) is UnivariateGaussianMixture and wide.batch_shape == (2, 5, 4)
    y = torch.randn(7, 1, 5, 4)
    torch.testing.assert_close(wide.log_prob(y), d.log_prob(y).expand(7, 2, 5, 4))
    for shape in ((), (6,), (6, 7)):
        assert wide.rsample(shape).shape == (*shape, 2, 5, 4)
    for j in range(4):
        one = UnivariateGaussianMixture(loc[2, 0], scale[j], logits=logits)
        torch.testing.assert_close(d.log_prob(y)[..., 2, j], one.log_prob(y[..., 2, j]))
        torch.testing.assert_close(d.mean[2, j], one.mean)
        torch.testing.assert_close(d.variance[2, j], one.variance)


def test_inside_pyro():
    d = mixture(torch.float32)
    data = d.sample((6,))
    mask = torch.tensor([True, False] * 3)

    def model(obs):
        with pyro.plate("rows", 6), pyro.poutine.mask(mask=mask):
            return pyro.sample("y", d, obs=obs)

    trace = pyro.poutine.trace(model).get_trace(data)
    assert trace.log_prob_sum().item() == pytest.approx(d.log_prob(data)[mask].sum().item())
    assert pyro.poutine.trace(model).get_trace(None).nodes["y"]["value"].shape == (6,)
    assert (d.mask(mask).log_prob(data)[~mask] == 0).all()

    log_normal = dist.TransformedDistribution(d, [dist.transforms.ExpTransform()])
    value = log_normal.rsample((10,))
    torch.testing.assert_close(log_normal.log_prob(value), d.log_prob(value.log()) - value.log())
    torch.testing.assert_close(log_normal.icdf(log_normal.cdf(value)), value, rtol=1e-3, atol=1e-4)


ONE, TWO = torch.ones(2), torch.ones(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"loc": ONE, "scale": ONE},
            "logits: expected exactly one of logits and probs, got neither",
        ),
        ({"loc": ONE, "scale": ONE, "logits": ONE, "probs": ONE}, "got both"),
        ({"loc": [0.0], "scale": ONE, "probs": ONE}, "loc: expected a torch tensor, got list"),
        ({"loc": ONE.long(), "scale": ONE, "probs": ONE}, "loc: expected floating-point.*int64"),
        (
            {"loc": ONE, "scale": TWO, "probs": ONE},
            r"scale: expected 2 components.*got shape \(3,\)",
        ),
        ({"loc": ONE, "scale": ONE[:1], "probs": ONE}, r"scale: expected 2 components.*\(1,\)"),
        (
            {"loc": ONE, "scale": torch.tensor(1.0), "probs": ONE},
            r"scale: expected shape \(\.\.\., K\)",
        ),
        (
            {"loc": ONE.expand(2, 2), "scale": ONE.expand(3, 2), "probs": ONE},
            "batch shapes that broadcast",
        ),
        (
            {"loc": ONE, "scale": ONE.double(), "probs": ONE},
            "scale: expected torch.float32.*float64",
        ),
        ({"loc": ONE, "scale": ONE, "probs": ONE.to("meta")}, "probs: expected device cpu"),
        (
            {"loc": ONE, "scale": -ONE, "probs": ONE},
            r"scale: expected finite positive values, got -1\.0",
        ),
        ({"loc": ONE, "scale": 0 * ONE, "probs": ONE}, "scale: expected finite positive"),
        (
            {"loc": ONE * math.nan, "scale": ONE, "probs": ONE},
            "loc: expected finite values, got nan",
        ),
        (
            {"loc": ONE, "scale": ONE, "probs": 0 * ONE},
            "probs: expected at least one positive weight",
        ),
        ({"loc": ONE, "scale": ONE, "probs": -ONE}, "probs: expected finite non-negative"),
        (
            {"loc": ONE, "scale": ONE, "logits": math.inf * ONE},
            "logits: expected finite values or -inf",
        ),
        (
            {"loc": ONE, "scale": ONE, "logits": -math.inf * ONE},
            "logits: expected at least one positive",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        UnivariateGaussianMixture(**arguments)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor(math.nan), "value"),
        (torch.tensor([1]), "value: expected floating-point"),
        (torch.ones(2, dtype=torch.float32), "value: expected torch.float64, as loc has"),
        (0.5, "value: expected a torch tensor, got float"),
    ],
)
def test_bad_values(value, message):
    for method in (mixture().log_prob, mixture().cdf, mixture().responsibilities):
        with pytest.raises(ValueError, match=message):
            method(value)


def test_icdf_of_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="value, the batch: expected batch shapes that broadcast"):
        mixture().expand((3,)).icdf(torch.rand(2, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probs_near_zero_are_taken_as_they_are(dtype):
    """Categorical would raise them to the machine epsilon, and the density with them."""
    loc, scale = torch.tensor([-10.0, 0.0, 50.0], dtype=dtype), torch.ones(3, dtype=dtype)
    probs = torch.tensor([1e-10, 1.0, 0.0], dtype=dtype)
    d = UnivariateGaussianMixture(loc, scale, probs=probs)
    assert d.log_prob(torch.tensor(-10.0, dtype=dtype)).item() == pytest.approx(
        math.log(1e-10) + stats.norm.logpdf(0), rel=1e-5
    )
    assert d.log_prob(torch.tensor(50.0, dtype=dtype)).item() == pytest.approx(
        stats.norm.logpdf(50), rel=1e-5
    )
    assert d.responsibilities(torch.tensor(50.0, dtype=dtype))[2] == 0
    np.testing.assert_allclose(d.probs, probs, rtol=1e-5)
    probs.requires_grad_()
    d = UnivariateGaussianMixture(loc, scale, probs=probs)
    y = d.rsample((100,))
    for value in (d.log_prob(y), y):
        (gradient,) = torch.autograd.grad(value.sum(), probs, retain_graph=True)
        assert gradient.isfinite().all()


def test_quantiles_under_vmap():
    d = UnivariateGaussianMixture(torch.tensor([-2.0, 1.0]), torch.ones(2), probs=torch.ones(2) / 2)
    q = torch.tensor([0.1, 0.5, 0.9])
    torch.testing.assert_close(torch.func.vmap(d.icdf)(q), d.icdf(q))
