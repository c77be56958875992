"""The layer's log-density, by each backend, against torch's distributions in float64."""

import math
import threading

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from pyro_ugmm.nn import UGMMLayer
from pyro_ugmm.nn.kernels import backend_for, force_backend, layer_log_density
from pyro_ugmm.nn.kernels.compiled import Compiled
from tests.nn.kernels.cases import BACKENDS, textbook, threads, value_and_gradients


@st.composite
def layers(draw):
    """A layer's inputs and parameters over the sizes and scales that are promised to work."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    rows, neurons = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    width = draw(st.sampled_from([1, 2, 3, 10, 100, 1000]))
    kind = {"generator": generator, "dtype": dtype}
    x = torch.randn(rows, width, **kind) * 10.0 ** draw(st.integers(-3, 6))
    loc = torch.randn(neurons, width, **kind) * 10.0 ** draw(st.integers(-3, 3))
    scale = 10 ** (6 * torch.rand(neurons, width, **kind) - 3)
    logits = torch.randn(neurons, width, **kind) * draw(st.sampled_from([0.0, 1.0, 10.0]))
    if width > 1 and draw(st.booleans()):
        logits[:, 0] = -math.inf
    return x, loc, scale, logits


def by(backend, **kwargs):
    """The kernel of one backend, from logits."""

    def kernel(x, loc, scale, logits):
        with force_backend(backend):
            return layer_log_density(x, loc, scale, logits.log_softmax(-1), **kwargs)

    return kernel


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=60)
@given(case=layers())
def test_kernel_matches_the_textbook_to_rounding(backend, case):
    x, loc, scale, logits = case
    epsilon = torch.finfo(x.dtype).eps
    value, gradients = value_and_gradients(by(backend), case)
    expected, expected_gradients = value_and_gradients(
        textbook, [tensor.double() for tensor in case]
    )
    z = ((x.unsqueeze(-2) - loc) / scale).double()
    log_weight = logits.double().log_softmax(-1)
    terms = (
        0.5 * z * z + scale.double().log().abs() + log_weight.abs().where(log_weight > -math.inf, 0)
    )
    largest = terms.amax(-1) + 1
    assert ((value - expected).abs() <= 8 * epsilon * largest).all()
    # A rounding error of the terms is a relative error of the responsibilities, at most one.
    doubt = (16 * epsilon * largest).clamp(max=1).sum(0).unsqueeze(-1)  # (neurons, 1)
    slope = (z.abs() / scale.double()).amax((0, 2)).unsqueeze(-1)
    sizes = [None, slope, slope * (1 + z.abs().amax((0, 2)).unsqueeze(-1)), torch.ones_like(doubt)]
    for got, wanted, size in zip(gradients, expected_gradients, sizes, strict=True):
        assert got.isfinite().all() and got.dtype == x.dtype
        if size is not None:
            assert ((got - wanted).abs() <= doubt * size + 64 * epsilon * wanted.abs()).all()
    bound = (doubt * slope).sum() + 64 * epsilon * expected_gradients[0].abs()
    assert ((gradients[0] - expected_gradients[0]).abs() <= bound).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_is_normwise_accurate_on_well_conditioned_draws(backend):
    # Layers of few inputs go block by block of rows: three blocks, the last not full.
    for rows, width in ((32, 1), (32, 4), (700, 3), (513, 16), (32, 17), (32, 64), (32, 784)):
        case = (
            torch.randn(rows, width),
            torch.randn(16, width),
            torch.rand(16, width) + 0.1,
            torch.randn(16, width),
        )
        value, gradients = value_and_gradients(by(backend), case)
        expected, expected_gradients = value_and_gradients(
            textbook, [tensor.double() for tensor in case]
        )
        for got, wanted in zip((value, *gradients), (expected, *expected_gradients), strict=True):
            assert (got - wanted).norm() <= 1e-5 * wanted.norm()


@pytest.mark.parametrize("size", [(700, 3, 40), (300, 60, 40)])
def test_two_threads_find_what_one_does(size):
    rows, width, neurons = size
    shape = (neurons, width)
    case = (torch.randn(rows, width), torch.randn(shape), torch.rand(shape) + 0.1)
    case = [tensor.double() for tensor in (*case, torch.randn(shape))]
    alone = value_and_gradients(by(backend_for("cpu", torch.float64)), case)
    with threads(2):
        shared = value_and_gradients(by(backend_for("cpu", torch.float64)), case)
    torch.testing.assert_close(shared, alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck(backend):
    case = [torch.randn(3, 4), torch.randn(2, 4), torch.rand(2, 4) + 0.3, torch.randn(2, 4)]
    case = [tensor.double().requires_grad_() for tensor in case]
    assert torch.autograd.gradcheck(by(backend), case)
    assert torch.autograd.gradgradcheck(by(backend), case)


@pytest.mark.parametrize("backend", BACKENDS)
def test_zero_weights_leave_inputs_out(backend):
    kernel = by(backend)
    x, loc, scale, logits = (
        torch.randn(5, 4),
        torch.randn(3, 4),
        torch.rand(3, 4) + 0.1,
        torch.randn(3, 4),
    )
    logits[:, 2] = -math.inf
    keep = [0, 1, 3]
    value, gradients = value_and_gradients(kernel, (x, loc, scale, logits))
    torch.testing.assert_close(
        value, kernel(x[:, keep], loc[:, keep], scale[:, keep], logits[:, keep])
    )
    for gradient in gradients:
        assert gradient.isfinite().all() and (gradient[:, 2] == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("rows", "draws"),
    [((), ()), ((3, 5), ()), ((5,), (4, 1)), ((4, 5), (4, 1)), ((3, 1, 5), (4, 1)), ((4,), (4,))],
)
def test_leading_dimensions_broadcast(backend, rows, draws):
    torch.manual_seed(0)
    x = torch.randn(*rows, 7).double()
    loc, scale, logits = (torch.rand(*draws, 6, 7).double() + 0.3 for _ in range(3))
    case = (x, loc, scale, logits)
    value, gradients = value_and_gradients(by(backend), case)
    expected, expected_gradients = value_and_gradients(textbook, case)
    torch.testing.assert_close(value, expected)
    for got, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(got, wanted)
    fewer = (x, loc, scale.reshape(-1, 6, 7)[0], logits)
    torch.testing.assert_close(by(backend)(*fewer), textbook(*fewer))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_far_from_every_mean(backend, dtype):
    """Where all terms of all rows underflow, or of some rows between others."""
    torch.manual_seed(0)
    x = torch.randn(23, 40, dtype=dtype)
    x[::3] += 1000
    x[1::3] -= torch.logspace(0, 4, 8, dtype=dtype).unsqueeze(-1)
    loc, logits = torch.randn(9, 40, dtype=dtype), torch.randn(9, 40, dtype=dtype)
    scale = torch.rand(9, 40, dtype=dtype) + 0.05
    value, gradients = value_and_gradients(by(backend), (x, loc, scale, logits))
    expected, expected_gradients = value_and_gradients(textbook, (x, loc, scale, logits))
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=0)
    # Where exponents are of the order 1e8, gradients in float32 are what rounding leaves of them.
    if dtype == torch.float64:
        for got, wanted in zip(gradients, expected_gradients, strict=True):
            assert (got - wanted).norm() <= 1e-7 * wanted.norm()


@pytest.mark.parametrize("backend", BACKENDS)
def test_omitted_inputs_are_left_out_in_value_and_gradients(backend):
    torch.manual_seed(0)
    x, loc, logits = torch.randn(11, 30).double(), torch.randn(6, 30).double(), torch.zeros(6, 30)
    scale, logits = torch.rand(6, 30).double() + 0.3, logits.double()
    x[torch.rand(11, 30) < 0.4] = math.nan
    case = (x, loc, scale, logits)
    value, gradients = value_and_gradients(by(backend, omit=True), case)
    weights = logits.log_softmax(-1)
    for i, row in enumerate(x):
        seen = ~row.isnan()
        normal = torch.distributions.Normal(loc[:, seen], scale[:, seen])
        expected = (weights[:, seen] + normal.log_prob(row[seen])).logsumexp(-1)
        torch.testing.assert_close(value[i], expected)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0][x.isnan()] == 0).all()
    known = [torch.where(x.isnan(), 0.0, x), *case[1:]]

    def masked(x, loc, scale, logits):
        normal = torch.distributions.Normal(loc, scale).log_prob(x.unsqueeze(1))
        terms = logits.log_softmax(-1) + normal
        return terms.masked_fill(case[0].isnan().unsqueeze(1), -math.inf).logsumexp(-1)

    _, expected_gradients = value_and_gradients(masked, known)
    for got, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(got, wanted)
    assert by(backend)(*case).isnan().any(1).equal(x.isnan().any(1))  # not omitted: NaN


def large():
    """A layer large enough not to be left to the textbook, and rows."""
    torch.manual_seed(0)
    return UGMMLayer(60, 40), torch.randn(20, 60)


def test_transforms_and_tracing_see_the_same_layer():
    layer, x = large()
    expected = layer(x)
    mapped = torch.func.vmap(layer)(x)
    torch.testing.assert_close(mapped, expected)
    jacobian = torch.func.jacrev(lambda row: layer(row).sum())(x[0])
    row = x[0].clone().requires_grad_()
    (wanted,) = torch.autograd.grad(layer(row).sum(), row)
    torch.testing.assert_close(jacobian, wanted)
    _, tangent = torch.func.jvp(layer, (x.detach(),), (torch.ones_like(x),))
    assert tangent.isfinite().all()
    traced = torch.jit.trace(layer, x.detach(), check_trace=False)
    torch.testing.assert_close(traced(x.detach()[:7]), expected[:7])
    compiled = torch.compile(layer, backend="aot_eager")
    for rows in (x.detach(), x.detach()[:2]):  # large, and small enough for the textbook
        torch.testing.assert_close(compiled(rows), expected[: len(rows)])
        compiled(rows).sum().backward()
        assert layer.loc.grad.isfinite().all()


def test_nothing_of_rows_by_neurons_by_inputs_is_held():
    layer = UGMMLayer(100, 50)
    x = torch.randn(1000, 100, requires_grad=True)
    held = []

    def pack(tensor):
        held.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x)
    assert max(held) <= x.numel()


def test_threads_of_python_may_share_a_layer():
    layer, x = large()
    expected, found = layer(x), {}

    def run(i):
        found[i] = [layer(x) for _ in range(20)]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(out, expected) for outs in found.values() for out in outs)


def test_the_choice_is_visible_and_can_be_forced():
    if not Compiled().unavailable(torch.device("cpu"), torch.float32):
        assert backend_for("cpu", torch.float32) == "compiled"
    assert backend_for("cpu", torch.bfloat16) == "tiled"
    with force_backend("textbook"):
        assert backend_for("cpu", torch.float32) == "textbook"
    with (
        pytest.raises(ValueError, match=r"name: expected one of .*got 'fast'"),
        force_backend("fast"),
    ):
        pass
    with (
        force_backend("compiled"),
        pytest.raises(ValueError, match="backend: expected 'compiled' to be available, got none"),
    ):
        backend_for("cpu", torch.bfloat16)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("n_inputs", [8, 40])
def test_scores_far_below_zero_are_finite(name, n_inputs):
    x, loc = 1e17 * torch.randn(6, n_inputs), torch.randn(4, n_inputs)
    log_weight = torch.randn(4, n_inputs).log_softmax(-1)
    log_weight[:, 0] = -math.inf
    log_weight.requires_grad_()
    with force_backend(name):
        scores = layer_log_density(x, loc, torch.ones_like(loc), log_weight)
    expected = -0.5 * x[:, None, 1:].sub(loc[:, 1:]).double().square().amin(-1)
    torch.testing.assert_close(scores.double(), expected, rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(scores.sum(), log_weight)
    torch.testing.assert_close(gradient.sum(), torch.tensor(24.0))
