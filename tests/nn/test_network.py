import copy
import io
import math

import numpy as np
import pyro
import pytest
import torch
from sklearn.datasets import load_digits, load_iris

from pyro_ugmm.nn import UGMMLayer, UGMMNetwork


def test_layers_score_the_scores_of_the_layer_before():
    net = UGMMNetwork([4, 6, 5, 3], normalization="none")
    x = torch.randn(7, 4)
    h = x
    for layer in net.layers:
        h = layer(h)
    torch.testing.assert_close(net(x), h)
    assert [tuple(layer.loc.shape) for layer in net.layers] == [(6, 4), (5, 6), (3, 5)]


def test_layer_normalization_stands_between_layers():
    net = UGMMNetwork([4, 6, 5, 3], dtype=torch.float64)
    between = [torch.nn.LayerNorm(n, elementwise_affine=False) for n in (6, 5)]
    first, second, third = net.layers
    x = torch.randn(7, 4, dtype=torch.float64)
    expected = third(between[1](second(between[0](first(x)))))
    torch.testing.assert_close(net(x), expected)
    torch.testing.assert_close(net(x)[:1], net(x[:1]))  # rows do not meet
    assert repr(net) == "UGMMNetwork([4, 6, 5, 3], n_parameters=207)"
    plain = UGMMNetwork([4, 1, 3], normalization="none")
    assert repr(plain) == "UGMMNetwork([4, 1, 3], normalization='none', n_parameters=21)"


def test_a_class_probability_by_hand():
    """Two inputs, one hidden neuron, two classes: the paper's formula written out in numbers."""
    net = UGMMNetwork([2, 1, 2], normalization="none", dtype=torch.float64)
    first, second = net.layers
    with torch.no_grad():
        first.loc.copy_(torch.tensor([[1.0, -1.0]]))
        first.logits.copy_(torch.tensor([[0.25, 0.75]], dtype=torch.float64).log())
        second.loc.copy_(torch.tensor([[-2.0], [0.0]]))
        second.logits.copy_(torch.tensor([[5.0], [-3.0]]))  # one component: its weight is one
    first.scale = torch.tensor([[0.5, 2.0]], dtype=torch.float64)
    second.scale = torch.tensor([[1.0], [3.0]], dtype=torch.float64)

    def normal(y, mu, sigma):
        return math.exp(-((y - mu) ** 2) / (2 * sigma**2)) / math.sqrt(2 * math.pi * sigma**2)

    hidden = math.log(0.25 * normal(0.8, 1.0, 0.5) + 0.75 * normal(0.3, -1.0, 2.0))
    score = [normal(hidden, -2.0, 1.0), normal(hidden, 0.0, 3.0)]
    by_hand = score[0] / sum(score)
    probs = net(torch.tensor([0.8, 0.3], dtype=torch.float64)).softmax(-1)
    assert probs[0].item() == pytest.approx(by_hand, rel=1e-12)


def standardized(data):
    x = torch.tensor(data.data, dtype=torch.float32)
    return (x - x.mean(0)) / x.std(0).clamp(min=1e-3), torch.tensor(data.target)


def learn(sizes, x, y, seed):
    """Takes a hundred steps of a plain torch loop; returns the network, and the losses."""
    torch.manual_seed(seed)
    net, losses = UGMMNetwork(sizes), []
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(100):
        rows = torch.randperm(len(x))[:128]
        loss = torch.nn.functional.cross_entropy(net(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net, losses


@pytest.mark.parametrize(
    ("sizes", "load", "accuracy"),
    [((4, 16, 16, 3), load_iris, 0.8), ((64, 128, 64, 10), load_digits, 0.5)],
)
def test_a_network_learns_at_once(sizes, load, accuracy):
    """From the first layer to the last; how well within so few steps varies with the start."""
    x, y = standardized(load())
    found = []
    for seed in range(3):
        net, losses = learn(sizes, x, y, seed)
        assert losses[0] == pytest.approx(math.log(sizes[-1]), rel=0.15)  # no class is favored
        assert np.mean(losses[10:15]) < losses[0]
        found.append((net(x).argmax(-1) == y).double().mean().item())
    assert np.median(found) > accuracy
    torch.manual_seed(seed)
    before = UGMMNetwork(sizes).state_dict()
    assert all((before[name] != value).any() for name, value in net.named_parameters())
    assert not list(pyro.get_param_store())


@pytest.mark.parametrize("sizes", [(4, 16, 16, 3), (64, 128, 64, 10), (200, 200, 200, 2)])
@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_every_layer_sees_inputs_of_its_own_scale(sizes, normalization):
    net = UGMMNetwork(sizes, normalization=normalization)
    x = torch.randn(500, sizes[0])

    def check_layers():
        h = x
        for layer in net.layers:
            z = (h - layer.input_center) / layer.input_spread
            assert z.mean().abs() < 0.5 and 0.67 < z.std() < 1.5
            h = layer(h)
            if normalization == "layer":
                h = (h - h.mean(-1, keepdim=True)) / h.std(-1, keepdim=True, correction=0)

    check_layers()
    with torch.no_grad():
        net.layers[0].loc.mul_(1.5)
    net.measure_inputs(x)
    check_layers()


def test_initialization_from_data_does_not_depend_on_its_units():
    x = torch.randn(300, 4).double()
    units = torch.tensor([1e-3, 1.0, 1e3, 10.0], dtype=torch.float64)
    offset = torch.tensor([0.0, 100.0, -1e4, 3.0], dtype=torch.float64)
    torch.manual_seed(1)
    plain = UGMMNetwork([4, 8, 3], min_scale=0.0, dtype=torch.float64)
    scaled = copy.deepcopy(plain)
    torch.manual_seed(2)
    plain.reset_parameters(x)
    torch.manual_seed(2)
    scaled.reset_parameters(x * units + offset)
    torch.testing.assert_close(
        scaled(x * units + offset).softmax(-1), plain(x).softmax(-1), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_replaced_parameters_are_one_call_for_many_draws(normalization):
    net = UGMMNetwork([4, 6, 3], normalization=normalization)
    x = torch.randn(7, 4)
    draws = {
        "layers.0.loc": torch.randn(5, 1, 6, 4),
        "layers.1.scale": torch.rand(5, 1, 3, 6) + 0.5,
    }
    out = net(x, draws)
    assert out.shape == (5, 7, 3)
    for s in range(5):
        one = net(x, {name: value[s, 0] for name, value in draws.items()})
        torch.testing.assert_close(out[s], one)
    by_vmap = torch.func.vmap(lambda d: net(x, d))({k: v[:, 0] for k, v in draws.items()})
    torch.testing.assert_close(out, by_vmap)


def test_saves_and_loads():
    net, other = UGMMNetwork([4, 6, 3]), UGMMNetwork([4, 6, 3])
    x = torch.randn(5, 4)
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    torch.testing.assert_close(net(x), other(x))


@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_functional_call_and_compile(normalization):
    net = UGMMNetwork([4, 6, 3], normalization=normalization)
    x = torch.randn(5, 4)
    parameters = {name: value.detach() for name, value in net.named_parameters()}
    torch.testing.assert_close(torch.func.functional_call(net, parameters, (x,)), net(x))
    torch.testing.assert_close(torch.compile(net, backend="aot_eager")(x), net(x))


def test_dropout_per_layer():
    net = UGMMNetwork([4, 6, 3], dropout=[0.1, 0.0])
    assert [layer.dropout for layer in net.layers] == [0.1, 0.0]
    assert repr(net) == "UGMMNetwork([4, 6, 3], dropout=(0.1, 0.0), n_parameters=126)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UGMMNetwork([4]), r"sizes: expected at least two sizes, got \(4,\)"),
        (lambda: UGMMNetwork([4, -1]), "sizes: expected a positive integer, got -1"),
        (lambda: UGMMNetwork([4, 5, 3], dropout=[0.1]), "dropout: expected one number, or 2"),
        (
            lambda: UGMMNetwork([4, 5, 3], normalization="batch"),
            "normalization: expected one of 'none', 'layer', got 'batch'",
        ),
        (lambda: UGMMNetwork([4, 3], missing=True), "missing: expected one of 'error', 'omit'"),
        (lambda: UGMMNetwork([4, 3], device="gpu"), "device: expected a torch device .* got 'gpu'"),
        (lambda: UGMMNetwork([4, 3], device="cuda:99"), "device: expected a torch device that can"),
        (lambda: UGMMNetwork([4, 3], dtype="float64"), "dtype: expected float32.* got 'float64'"),
        (
            lambda: UGMMNetwork([4, 1, 3], normalization="layer"),
            "sizes: expected hidden layers of 2 neurons or more",
        ),
        (lambda: UGMMNetwork([4, 3])(torch.randn(2, 3)), r"x: expected shape \(\.\.\., 4\)"),
        (
            lambda: UGMMNetwork([4, 3])(torch.randn(2, 4), {"layers.7.loc": torch.ones(3, 4)}),
            r"parameters: expected names like.*layers\.7\.loc",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_two_modules_in_one_pyro_model_are_both_trained():
    x, y = torch.randn(20, 2), torch.arange(20) % 3
    stack = torch.nn.Sequential(UGMMLayer(2, 4), UGMMLayer(4, 3))

    def model():
        with pyro.plate("rows", 20):
            pyro.sample("y", pyro.distributions.Categorical(logits=stack(x)), obs=y)

    before = [parameter.clone() for parameter in stack.parameters()]
    optimizer = pyro.optim.Adam({"lr": 0.1})
    svi = pyro.infer.SVI(model, lambda: None, optimizer, pyro.infer.Trace_ELBO())
    for _ in range(3):
        svi.step()
    assert all((a != b).any() for a, b in zip(before, stack.parameters(), strict=True))


def test_inside_a_users_pyro_module():
    class Model(pyro.nn.PyroModule):
        def __init__(self):
            super().__init__()
            self.first, self.second = UGMMNetwork([2, 4]), UGMMLayer(4, 3)

        def forward(self, x):
            return self.second(self.first(x))

    with pyro.get_param_store().scope():
        trace = pyro.poutine.trace(Model()).get_trace(torch.randn(5, 2))
    names = {name for name, site in trace.nodes.items() if site["type"] == "param"}
    assert {"first.layers.0.loc", "second.scale", "second.logits"} <= names
