"""Parameters with leading dimensions, such as draws, in one call of each backend."""

import math
from functools import partial

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from pyro_ugmm.nn import UGMMLayer, UGMMNetwork
from pyro_ugmm.nn.kernels import force_backend, layer_log_density
from pyro_ugmm.nn.kernels.backends import BACKENDS as ALL
from tests.nn.kernels.cases import BACKENDS, threads, value_and_gradients

FAST = [one for one in BACKENDS if one.values != ("fused",)]
"""Those that run at their own speed without a GPU."""
SHAPES = [
    [(3,), (2, 1), (2, 1), (2, 1)],
    [(2, 3), (2, 1), (), (1, 1)],
    [(3, 1, 2), (2, 1), (1, 1), ()],
    [(2,), (2, 2, 1), (), (2, 1, 1)],
]
"""Leading dimensions of inputs, means, scales and weights."""


def reference(x, loc, scale, log_weight, omit=False):
    """The definition, term by term, in float64."""
    x, loc, scale, log_weight = (one.double() for one in (x, loc, scale, log_weight))
    x = x.unsqueeze(-2)
    missing = x.isnan() & omit
    normal = torch.distributions.Normal(loc, scale, validate_args=False)
    terms = log_weight + normal.log_prob(x.masked_fill(missing, 0.0))
    return terms.masked_fill(missing, -math.inf).logsumexp(-1)


def by(backend, omit=False):
    def kernel(*tensors):
        with force_backend(backend):
            return layer_log_density(*tensors, omit=omit)

    return kernel


def make(shapes, n_neurons, n_inputs, **kind):
    """Inputs and parameters of these leading shapes."""
    rows, *sets = shapes
    x = torch.randn(*rows, n_inputs, **kind)
    loc, scale, logits = (torch.randn(*one, n_neurons, n_inputs, **kind) for one in sets)
    return [x, loc, scale.exp() + 0.1, logits.log_softmax(-1)]


@st.composite
def cases(draw):
    """Tensors whose leading dimensions broadcast: any of them may lack some, or have ones there."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    batch = draw(st.lists(st.sampled_from([1, 2, 3, 5, 18]), max_size=3))

    def part():
        kept = batch[draw(st.integers(0, len(batch))) :]
        return [size if draw(st.booleans()) else 1 for size in kept]

    n_neurons, n_inputs = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 5, 16, 17, 20]))
    tensors = make([part() for _ in range(4)], n_neurons, n_inputs)
    omit = draw(st.booleans())
    if omit:  # rows of which nothing is left have no gradient: the first input always is
        tensors[0][..., 1:][torch.rand(tensors[0][..., 1:].shape) < 0.3] = math.nan
    if n_inputs > 1 and draw(st.booleans()):
        tensors[3][..., -1] = -math.inf
    for i in draw(st.sets(st.integers(1, 3))):
        tensors[i] = tensors[i].mT.contiguous().mT
    return tensors, omit


@pytest.mark.parametrize("backend", FAST)
@settings(deadline=None, max_examples=40)
@given(case=cases())
def test_all_ways_of_broadcasting(backend, case):
    tensors, omit = case
    doubled = [tensor.double() for tensor in tensors]
    expected, expected_gradients = value_and_gradients(partial(reference, omit=omit), doubled)
    for given_tensors, tolerance in ((doubled, 1e-10), (tensors, 1e-3)):
        value, gradients = value_and_gradients(by(backend, omit), given_tensors)
        assert value.shape == expected.shape
        torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=tolerance)
        for got, wanted in zip(gradients, expected_gradients, strict=True):
            assert got.shape == wanted.shape
            assert (got - wanted).norm() <= tolerance * (wanted.norm() + 1)


@pytest.mark.parametrize("backend", [*ALL])
@pytest.mark.parametrize("shapes", SHAPES)
def test_draws_on_each_device(device, backend, shapes):
    check_values(backend, make(shapes, 3, 4, device=device))


@pytest.mark.parametrize("backend", [*ALL])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("size", [(300, 3, 4), (21, 18, 17), (1, 2, 3)])
def test_many_draws_on_each_device(device, backend, shared, size):
    n_rows, n_neurons, n_inputs = size
    n_sets = 2 if backend == "fused" and device.type == "cpu" else 40
    shapes = [(n_rows,) if shared else (n_sets, n_rows), *[(n_sets, 1)] * 3]
    check_values(backend, make(shapes, n_neurons, n_inputs, device=device))


def check_values(backend, case):
    reason = ALL[backend].unavailable(case[0].device, case[0].dtype)
    if reason:
        pytest.skip(reason)
    value, gradients = value_and_gradients(by(backend), case)
    expected, expected_gradients = value_and_gradients(reference, [one.double() for one in case])
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)
    for got, wanted in zip(gradients, expected_gradients, strict=True):
        assert (got - wanted).norm() <= 1e-5 * (wanted.norm() + 1)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("shapes", SHAPES)
def test_derivatives_of_draws(backend, shapes):
    case = [one.requires_grad_() for one in make(shapes, 2, 3, dtype=torch.float64)]
    assert torch.autograd.gradcheck(by(backend), case)
    assert torch.autograd.gradgradcheck(by(backend), case)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wanted", range(4))
def test_one_gradient_alone(backend, wanted):
    case = make([(2, 5), (2, 1), (2, 1), ()], 3, 4, dtype=torch.float64)
    case[wanted].requires_grad_()
    (got,) = torch.autograd.grad(by(backend)(*case).sum(), case[wanted])
    (expected,) = torch.autograd.grad(reference(*case).sum(), case[wanted])
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("empty", ["sets", "rows", "neurons"])
def test_nothing_gives_nothing(backend, empty):
    n_sets, n_rows, n_neurons = (0 if empty == one else 3 for one in ("sets", "rows", "neurons"))
    case = make([(n_rows,), *[(n_sets, 1)] * 3], n_neurons, 4)
    value, gradients = value_and_gradients(by(backend), case)
    assert value.shape == (n_sets, n_rows, n_neurons)
    assert all((one == 0).all() for one in gradients)


@pytest.mark.parametrize("n_inputs", [5, 30])
@pytest.mark.parametrize("n_sets", [1, 3, 16])
@pytest.mark.parametrize("shared", [True, False])
def test_threads_share_sets_and_rows(n_sets, n_inputs, shared):
    shapes = [(900,) if shared else (n_sets, 900), *[(n_sets, 1)] * 3]
    case = make(shapes, 60 // n_sets, n_inputs, dtype=torch.float64)
    expected = value_and_gradients(reference, case)
    for count in (1, 2, 5):
        with threads(count):
            value, gradients = value_and_gradients(layer_log_density, case)
            again = value_and_gradients(layer_log_density, case)
        torch.testing.assert_close((value, gradients), expected, rtol=1e-10, atol=1e-10)
        assert value.equal(again[0])
        assert all(one.equal(other) for one, other in zip(gradients, again[1], strict=True))


@pytest.mark.parametrize("backend", FAST)
def test_far_draws_between_near_ones(backend):
    """Where all terms underflow for some draws, and for some rows of others."""
    case = make([(40,), *[(6, 1)] * 3], 3, 4, dtype=torch.float64)
    case[0][::7] += 300
    case[1][1::2] -= 5000
    value, gradients = value_and_gradients(by(backend), case)
    expected, expected_gradients = value_and_gradients(reference, case)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    for got, wanted in zip(gradients, expected_gradients, strict=True):
        assert (got - wanted).norm() <= 1e-9 * wanted.norm()


def test_vmap_over_draws_finds_the_same():
    x, *parameters = make([(50,), *[(9,)] * 3], 40, 30, dtype=torch.float64)
    mapped = torch.func.vmap(layer_log_density, (None, 0, 0, 0))(x, *parameters)
    torch.testing.assert_close(
        layer_log_density(x, *(one.unsqueeze(1) for one in parameters)), mapped
    )


def test_draws_of_a_network_are_what_its_layers_give_one_by_one():
    torch.manual_seed(0)
    network, x = UGMMNetwork([4, 8, 3], dtype=torch.float64), torch.randn(120, 4).double()
    drawn = {}
    for i, layer in enumerate(network.layers):
        for name in ("loc", "scale", "logits"):
            own = getattr(layer, name).detach()
            drawn[i, name] = own.exp() * torch.rand(64, 1, *own.shape).double()
    scores = x
    for i, layer in enumerate(network.layers):
        names = ("loc", "scale", "logits")
        scores = layer(scores, **{name: drawn[i, name] for name in names})
    for draw in (0, 17, 63):
        alone = x
        for i, layer in enumerate(network.layers):
            alone = layer(alone, **{name: drawn[i, name][draw, 0] for name in names})
        torch.testing.assert_close(scores[draw], alone)


def test_shapes_that_do_not_broadcast_are_refused():
    layer = UGMMLayer(4, 3)
    with pytest.raises(ValueError, match="broadcast"):
        layer(torch.randn(5, 4), loc=torch.zeros(2, 3, 4))
    case = make([(5,), (2,), (), ()], 3, 4)
    with pytest.raises(ValueError, match="expected batch shapes that broadcast"):
        layer_log_density(*case)
