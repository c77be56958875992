import copy
import io
import math
import pickle
import threading

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch.nn.utils import prune, skip_init

from pyro_ugmm.nn import UGMMLayer, UGMMNetwork
from pyro_ugmm.nn.dropout import drop_components
from tests.nn.kernels.cases import textbook


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


def test_a_parameter_in_place_of_a_parameter_is_checked():
    layer = UGMMLayer(2, 3)
    layer.loc = torch.nn.Parameter(torch.full((3, 2), 2.0))
    assert (layer.loc == 2).all() and len(list(layer.parameters())) == 3
    for name, value, message in (
        ("loc", torch.nn.Parameter(torch.zeros(2, 2)), "expected shape"),
        ("loc", torch.nn.Parameter(torch.full((3, 2), math.nan)), "expected finite"),
        ("scale", torch.nn.Parameter(torch.ones(3, 2)), "expected a tensor, whose values"),
        ("scale", np.ones((3, 2)), "expected a torch tensor, got ndarray"),
        ("logits", np.ones((3, 2)), "expected a torch tensor, got ndarray"),
    ):
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            setattr(layer, name, value)
    assert (layer.scale > 0).all()


def test_torch_may_keep_tensors_in_place_of_parameters():
    layer, x = UGMMLayer(4, 3), torch.randn(5, 4)
    replica = layer._replicate_for_data_parallel()
    for name, parameter in layer.named_parameters():
        setattr(replica, name, parameter * 1)
    torch.testing.assert_close(replica(x), layer(x))
    prune.l1_unstructured(layer, "logits", 0.3)
    assert layer(x).shape == (5, 3) and (layer.logits == 0).any()
    prune.remove(layer, "logits")
    assert isinstance(layer.logits, torch.nn.Parameter) and layer(x).shape == (5, 3)


def test_parameters_that_were_read_can_be_pickled():
    layer, x = UGMMLayer(4, 3), torch.randn(5, 4)
    layer(x)
    optimizer = pyro.optim.Adam({"lr": 0.1})
    for train in (False, True):
        if train:  # Pyro leaves something on parameters that it has seen

            def model(x):
                pyro.sample("y", pyro.distributions.Normal(layer(x), 1).to_event(2), obs=x[:, :3])

            SVI(model, lambda x: None, optimizer, Trace_ELBO()).step(x)
        file = io.BytesIO()
        torch.save(dict(layer.named_parameters()), file)
        file.seek(0)
        again = torch.load(file)
        assert all(torch.equal(again[name], value) for name, value in layer.named_parameters())
    twin = UGMMLayer(4, 3)
    twin._parameters["loc"], before = again["loc"], again["loc"].clone()
    SVI(
        lambda x: pyro.factor("score", twin(x).sum()), lambda x: None, optimizer, Trace_ELBO()
    ).step(x)
    assert (again["loc"] != before).all()  # a parameter from a file trains as any other


def test_threads_leave_pyros_setting_and_store_alone():
    layer, x, failed = UGMMLayer(4, 3), torch.randn(5, 4), []
    others = [UGMMLayer(4, 3) for _ in range(4)]
    expected = layer(x)

    def evaluate(own):
        for _ in range(200):
            own(x)
            if not torch.equal(layer(x), expected) or list(pyro.get_param_store()):
                failed.append(own)

    threads = [threading.Thread(target=evaluate, args=(own,)) for own in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and pyro.settings.get("module_local_params") is False
    with pyro.settings.context(module_local_params=True):
        layer(x)
        assert pyro.settings.get("module_local_params") is True


def test_on_the_meta_device():
    with torch.no_grad():
        for sizes in ([4, 8, 3], [784, 128, 10]):
            net = UGMMNetwork(sizes, device="meta")
            assert net(torch.empty(256, sizes[0], device="meta")).shape == (256, sizes[-1])
    assert skip_init(UGMMLayer, 4, 3).loc.device.type == "cpu"


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


@pytest.mark.parametrize("missing", ["error", "omit"])
def test_log_weights_stand_in_for_logits(missing):
    layer, x = UGMMLayer(4, 3, missing=missing), torch.randn(10, 4)
    logits = torch.randn(5, 1, 3, 4)
    given = layer(x, log_weights=logits.log_softmax(-1))
    torch.testing.assert_close(given, layer(x, logits=logits))
    with pytest.raises(ValueError, match="log_weights: expected"):
        layer(x, log_weights=torch.zeros(2, 4))
