import copy
import math
import pickle

import hypothesis.strategies as st
import pyro
import pytest
import torch
from hypothesis import given, settings

from pyro_ugmm.nn import UGMMLayer
from pyro_ugmm.nn.kernels import layer_log_density
from pyro_ugmm.nn.layer import drop_components


def textbook(x, loc, scale, logits):
    """The defining expression, by torch's distributions, in float64."""
    x, loc, scale, logits = (tensor.double() for tensor in (x, loc, scale, logits))
    component = torch.distributions.Normal(loc, scale, validate_args=False).log_prob(
        x.unsqueeze(-2)
    )
    return torch.logsumexp(torch.log_softmax(logits, -1) + component, -1)


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


def kernel(x, loc, scale, logits):
    return layer_log_density(x, loc, scale, logits.log_softmax(-1))


def value_and_gradients(function, tensors):
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    value = function(*tensors)
    return value.detach(), torch.autograd.grad(value.sum(), tensors)


@settings(deadline=None, max_examples=150)
@given(case=layers())
def test_kernel_matches_the_textbook_to_rounding(case):
    x, loc, scale, logits = case
    epsilon = torch.finfo(x.dtype).eps
    value, gradients = value_and_gradients(kernel, case)
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


def test_float32_is_normwise_accurate_on_well_conditioned_draws():
    for width in (1, 4, 64, 784):
        case = (
            torch.randn(64, width),
            torch.randn(32, width),
            torch.rand(32, width) + 0.1,
            torch.randn(32, width),
        )
        value, gradients = value_and_gradients(kernel, case)
        expected, expected_gradients = value_and_gradients(
            textbook, [tensor.double() for tensor in case]
        )
        for got, wanted in zip((value, *gradients), (expected, *expected_gradients), strict=True):
            assert (got - wanted).norm() <= 1e-5 * wanted.norm()


def test_gradcheck():
    case = [torch.randn(3, 4), torch.randn(2, 4), torch.rand(2, 4) + 0.3, torch.randn(2, 4)]
    case = [tensor.double().requires_grad_() for tensor in case]
    assert torch.autograd.gradcheck(kernel, case)
    assert torch.autograd.gradgradcheck(kernel, case)


def test_zero_weights_leave_inputs_out():
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


def test_the_layer_is_its_nodes_with_one_input_a_component():
    layer = UGMMLayer(4, 3, dtype=torch.float64)
    x = torch.randn(4, dtype=torch.float64)
    nodes = layer.nodes
    terms = nodes.component_distribution.log_prob(x) + nodes.logits
    torch.testing.assert_close(layer(x), terms.logsumexp(-1))
    # With all inputs alike the score is the node's density at that number.
    same = torch.full((4,), 0.7, dtype=torch.float64)
    torch.testing.assert_close(layer(same), nodes.log_prob(same[0]))


def test_shapes_of_inputs_and_of_posterior_draws():
    layer = UGMMLayer(4, 3)
    x = torch.randn(7, 4)
    for shape in ((), (7,), (2, 7)):
        assert layer(torch.randn(*shape, 4)).shape == (*shape, 3)
    draws = torch.randn(5, 1, 3, 4)
    out = layer(x, loc=draws)
    assert out.shape == (5, 7, 3)
    for s in range(5):
        torch.testing.assert_close(out[s], layer(x, loc=draws[s, 0]))
    vmapped = torch.func.vmap(lambda loc: layer(x, loc=loc))(draws[:, 0])
    torch.testing.assert_close(out, vmapped)


def test_dropout_masks_components_and_keeps_one():
    logits = torch.randn(1000, 3)
    logits[:, 0] = -math.inf
    dropped = drop_components(logits, 0.9)
    kept = dropped > -math.inf
    assert kept.any(-1).all() and not kept[:, 0].any()
    torch.testing.assert_close(dropped[kept], logits[kept])
    share = (drop_components(torch.zeros(1000, 100), 0.3) == -math.inf).float().mean()
    assert share.item() == pytest.approx(0.3, abs=0.01)


def test_dropout_is_one_mask_a_pass_and_off_in_evaluation_and_under_given_parameters():
    layer = UGMMLayer(6, 8, dropout=0.5)
    x = torch.randn(6).expand(10, 6)
    noisy = layer(x)
    assert (noisy == noisy[0]).all() and not torch.equal(noisy, layer(x))
    loc = layer.loc.detach()
    torch.testing.assert_close(layer(x, loc=loc), layer.eval()(x))
    torch.testing.assert_close(layer(x), layer(x))


def test_dropout_never_changes_what_the_weights_average_to():
    """Each masked neuron is a mixture of the kept components, weights renormalized."""
    layer = UGMMLayer(5, 4, dropout=0.5, dtype=torch.float64)
    x = torch.randn(5, dtype=torch.float64)
    torch.manual_seed(3)
    got = layer(x)
    torch.manual_seed(3)
    kept = drop_components(layer.logits, 0.5) > -math.inf
    weight = layer.logits.softmax(-1) * kept
    weight = weight / weight.sum(-1, keepdim=True)
    density = torch.distributions.Normal(layer.loc, layer.scale).log_prob(x).exp()
    torch.testing.assert_close(got, (weight * density).sum(-1).log())


def test_the_floor_changes_no_scale_that_was_given():
    layer = UGMMLayer(2, 2, min_scale=0.01)
    given_scale = torch.tensor([[0.02, 0.5], [1.0, 100.0]])
    layer.scale = given_scale
    torch.testing.assert_close(layer.scale, given_scale)
    with torch.no_grad():
        layer.scale_unconstrained.fill_(-50)
    torch.testing.assert_close(layer.scale, torch.full((2, 2), 0.01))
    message = r"scale: expected finite values above min_scale=0\.01, got 0\.00"
    with pytest.raises(ValueError, match=message):
        layer.scale = torch.full((2, 2), 0.005)


def test_parameters_can_be_set_and_are_checked():
    layer = UGMMLayer(2, 3)
    kept = list(layer.parameters())
    value = torch.rand(3, 2) + 0.1
    for name in ("loc", "scale", "logits"):
        setattr(layer, name, value)
        torch.testing.assert_close(getattr(layer, name), value)
        for bad, message in (
            (value[:1], r"expected shape \(3, 2\), got \(1, 2\)"),
            (value.double(), "expected torch.float32"),
            (value.long(), "expected floating-point"),
            (value * math.inf, "expected finite values"),
        ):
            with pytest.raises(ValueError, match=f"{name}: {message}"):
                setattr(layer, name, bad)
    assert all(a is b for a, b in zip(kept, layer.parameters(), strict=True))


def test_works_as_a_plain_torch_module():
    layer, twin = UGMMLayer(4, 3), UGMMLayer(4, 3)
    x = torch.randn(6, 4)
    assert not torch.equal(layer(x), twin(x))  # the same names in Pyro, yet parameters of their own
    twin.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), twin(x))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(layer(x), other(x))
        assert all(a is not b for a, b in zip(layer.parameters(), other.parameters(), strict=True))
    double = copy.deepcopy(layer).to(torch.float64)
    assert double(x.double()).dtype == torch.float64
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    before = [parameter.clone() for parameter in layer.parameters()]
    layer(x).sum().backward()
    optimizer.step()
    assert all((a != b).any() for a, b in zip(before, layer.parameters(), strict=True))
    assert not list(pyro.get_param_store())
    assert pyro.settings.get("module_local_params") is False


def test_a_head_on_an_ordinary_network():
    head = torch.nn.Sequential(torch.nn.Linear(5, 4), UGMMLayer(4, 3))
    head(torch.randn(2, 5)).sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_initialization_fits_the_data_it_is_given():
    x = torch.randn(1000, 3) * torch.tensor([1e-6, 1.0, 1e6]) + torch.tensor([0.0, 5.0, -1e6])
    layer = UGMMLayer(3, 500, min_scale=0.0)
    layer.reset_parameters(x)
    torch.testing.assert_close(layer.input_center, x.mean(0))
    z = (layer.loc - x.mean(0)) / x.std(0)
    assert (z.mean(0).abs() < 0.2).all() and ((z.std(0) - 1).abs() < 0.2).all()
    width = layer.scale / x.std(0)
    assert (width > 0.99).all() and (width < 2.01).all() and (width.mean() - 1.5).abs() < 0.05


def test_on_the_device_it_is_given(device):
    layer = UGMMLayer(4, 3, device=device)
    x = torch.randn(5, 4, device=device)
    expected = textbook(x.cpu(), layer.loc.cpu(), layer.scale.cpu(), layer.logits.cpu())
    torch.testing.assert_close(layer(x).cpu().double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UGMMLayer(0, 3), "in_features: expected a positive integer, got 0"),
        (lambda: UGMMLayer(3, 2.0), r"out_features: expected a positive integer, got 2\.0"),
        (lambda: UGMMLayer(3, 2, dropout=1.0), r"dropout: expected a probability in \[0, 1\)"),
        (lambda: UGMMLayer(3, 2, min_scale=-1.0), "min_scale: expected a non-negative"),
        (
            lambda: UGMMLayer(3, 2)(torch.randn(5, 4)),
            r"x: expected shape \(\.\.\., 3\), got \(5, 4\)",
        ),
        (lambda: UGMMLayer(3, 2)(torch.tensor(1.0)), r"x: expected shape \(\.\.\., 3\), got \(\)"),
        (lambda: UGMMLayer(3, 2)(torch.ones(5, 3).long()), "x: expected floating-point.*int64"),
        (lambda: UGMMLayer(3, 2)(torch.ones(5, 3).double()), "x: expected torch.float32.*float64"),
        (lambda: UGMMLayer(3, 2)(torch.ones(5, 3, device="meta")), "x: expected device cpu.*meta"),
        (lambda: UGMMLayer(3, 2)([[1.0, 2.0, 3.0]]), "x: expected a torch tensor, got list"),
        (lambda: UGMMLayer(3, 2)(torch.ones(5, 3), loc=torch.ones(3, 2)), r"loc: expected shape"),
        (
            lambda: UGMMLayer(3, 2)(torch.ones(5, 3), scale=torch.ones(1, 3)),
            "scale: expected shape",
        ),
        (
            lambda: UGMMLayer(3, 2)(torch.ones(5, 3), logits=torch.ones(2, 3).double()),
            "logits: expected",
        ),
        (lambda: UGMMLayer(3, 2).reset_parameters(torch.ones(1, 3)), "at least 2 rows"),
        (
            lambda: UGMMLayer(3, 2)(torch.ones(7, 3), loc=torch.ones(5, 2, 3)),
            r"x, loc: expected batch shapes that broadcast, got .*\(7,\).*\(5,\)",
        ),
        (lambda: UGMMLayer(3, 2)(torch.ones(7, 3), loc=[[1.0]]), "loc: expected a torch tensor"),
        (lambda: UGMMLayer(3, 2, dropout="a"), "dropout: expected a probability"),
        (
            lambda: UGMMLayer(3, 2).reset_parameters(torch.full((4, 3), math.nan)),
            "x: expected finite",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
