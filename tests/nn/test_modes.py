"""Layers, networks and queries in every dtype, mode of torch, and thread."""

import dataclasses
import math
import threading

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_ugmm.nn import UGMMLayer, UGMMNetwork
from pyro_ugmm.nn.kernels import backend_for, force_backend, layer_log_density
from tests.nn.kernels.cases import BACKENDS
from tests.nn.networks import ROWS, best, network, posterior


@pytest.mark.parametrize("dtype", [torch.float16, torch.int32, torch.complex64, "float32"])
def test_dtypes_that_do_not_do_are_refused_in_words(dtype):
    for make in (lambda: UGMMLayer(2, 3, dtype=dtype), lambda: UGMMNetwork([2, 3], dtype=dtype)):
        with pytest.raises(ValueError, match="dtype: expected float32, float64 or bfloat16"):
            make()
    with pytest.raises(ValueError, match="dtype: expected float32, float64 or bfloat16"):
        backend_for("cpu", dtype)


ENTRIES = {
    "forward": lambda net, x: net(x),
    "a layer": lambda net, x: net.layers[0](x),
    "new parameters": lambda net, x: net.reset_parameters(),
    "new parameters of a layer": lambda net, x: net.layers[0].reset_parameters(),
    "new parameters from rows": lambda net, x: net.reset_parameters(x),
    "measure": lambda net, x: net.measure_inputs(x),
    "states": posterior,
    "inputs": best,
}


@pytest.mark.parametrize("entry", [*ENTRIES, "nodes"])
def test_half_precision_is_refused_in_words_everywhere(entry):
    entries = ENTRIES | {"nodes": lambda net, x: net.layers[0].nodes}
    with pytest.raises(ValueError, match="expected float32, float64 or bfloat16"):
        entries[entry](network().half(), ROWS.half())


@pytest.mark.parametrize("entry", ENTRIES)
def test_bfloat16_works_everywhere(entry):
    net = network().to(torch.bfloat16)
    found = ENTRIES[entry](net, ROWS.to(torch.bfloat16))
    held = net.state_dict() if found is None else {"scores": found}
    held = vars(found) if dataclasses.is_dataclass(found) else held
    tensors = [one for one in held.values() if isinstance(one, torch.Tensor)]
    assert tensors and all(one.isfinite().all() for one in tensors)


def kernel_case(n_rows):
    return [torch.randn(n_rows, 4), torch.randn(3, 4), torch.rand(3, 4) + 0.5, torch.zeros(3, 4)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_read_only_what_fits(backend):
    """They read memory as it is: of another dtype or shape, they would read something else."""
    x, loc, scale, log_weight = kernel_case(4000)
    bad = {
        "scale: expected torch.float32": (x, loc, scale.double(), log_weight),
        "loc: expected torch.float64": (x.double(), loc, scale, log_weight),
        "log_weight: expected device": (x, loc, scale, log_weight.to("meta")),
        r"loc: expected shape \(..., 3, 2\)": (x[:, :2], loc, scale, log_weight),
        r"scale: expected shape \(..., 3, 4\)": (x, loc, scale[:2], log_weight),
        "x: expected float32, float64": (x.half(), loc.half(), scale.half(), log_weight.half()),
        "x: expected float32": (x.long(), loc, scale, log_weight),
    }
    for message, tensors in bad.items():
        with force_backend(backend), pytest.raises(ValueError, match=message):
            layer_log_density(*tensors)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [(0, 3, 4), (5, 0, 4), (5, 3, 0)])
def test_nothing_is_evaluated_at_once(backend, sizes):
    n_rows, n_neurons, n_inputs = sizes
    x, shape = torch.ones(n_rows, n_inputs), (n_neurons, n_inputs)
    with force_backend(backend):
        found = layer_log_density(x, *(torch.ones(shape) for _ in range(3)))
    assert found.shape == (n_rows, n_neurons) and (found == -math.inf).all()


def everything(sizes, dtype, missing, normalization):
    """All that a network does, from one random state."""
    net = network(sizes, dropout=0.3, dtype=dtype, missing=missing, normalization=normalization)
    x = torch.randn(20, sizes[0], dtype=dtype)
    if missing == "omit":
        x[0, 0] = math.nan
    net.reset_parameters(x)
    net.measure_inputs(x)
    out = net(x)
    gradients = torch.autograd.grad(out.sum(), [*net.parameters()])
    pair = {0: torch.tensor([0.0, 1.0])}
    found = best(net, x, pair)
    tensors = [out, *gradients, *net.state_dict().values(), found.rows, found.scores]
    return [tensor.detach() for tensor in (*tensors, posterior(net, x, pair).log_probabilities)]


@pytest.mark.parametrize("sizes", [(4, 6, 3), (60, 80, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("missing", "normalization"), [("error", "layer"), ("omit", "none")])
def test_autocast_changes_nothing(sizes, dtype, missing, normalization):
    expected = everything(sizes, dtype, missing, normalization)
    with torch.autocast("cpu", torch.bfloat16):
        found = everything(sizes, dtype, missing, normalization)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_under_autocast_what_other_layers_give_is_taken():
    layer = UGMMLayer(3, 2)
    with torch.autocast("cpu", torch.bfloat16):
        made = torch.nn.Linear(3, 6)(ROWS[:2]).unflatten(-1, (2, 3)).unsqueeze(-3)
        assert made.dtype == torch.bfloat16
        assert layer(ROWS, loc=made).dtype == torch.float32
        for bad, message in (([[1.0]], "got list"), (ROWS.long(), "expected floating-point")):
            with pytest.raises(ValueError, match=f"x: .*{message}"):
                layer(bad)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_what_is_made_in_inference_mode_can_be_trained(dropout):
    net = network()
    with torch.inference_mode():
        layer, made = UGMMLayer(3, 2), network(dropout=dropout)
        net.reset_parameters(ROWS.clone())
        net.measure_inputs(ROWS.clone())
        net.layers[0].loc = torch.zeros(6, 3)
        net.layers[0].scale = torch.full((6, 3), 2.0)
        posterior(net, ROWS.clone())
        best(net, ROWS.clone())
        best(made, ROWS.clone())
    for module in (layer, made, net):
        assert not any(value.is_inference() for value in module.state_dict().values())
        optimizer = torch.optim.Adam(module.parameters())
        module(ROWS).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_queries_are_the_same_in_every_mode(context):
    expected = best(network()).rows, posterior(network()).probabilities
    with context():
        found = best(network(), ROWS.clone()).rows, posterior(network(), ROWS * 1).probabilities
    torch.testing.assert_close(found, expected)
    assert not any(tensor.requires_grad for tensor in found)


def in_threads(function, n=4):
    results = [None] * n

    def run(i):
        results[i] = [function() for _ in range(5)]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for found in results for one in found or [None]]


def test_queries_of_one_network_in_threads_are_those_of_one():
    """Dropout is off for queries, and on, as before, for what trains meanwhile."""
    net = network(dropout=0.5).train()
    for ask in (lambda: best(net).rows, lambda: posterior(net).probabilities):
        expected = ask()
        before = torch.get_rng_state()
        assert all(torch.equal(found, expected) for found in in_threads(ask))
        assert torch.equal(torch.get_rng_state(), before)
    assert all(layer.training for layer in net.layers)


def test_forward_with_dropout_in_threads():
    net = network(dropout=0.5).train()
    assert all(found.isfinite().all() for found in in_threads(lambda: net(ROWS)))


class _NoDouble(TorchDispatchMode):
    """A device, such as MPS, without double precision."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for one in found if isinstance(found, tuple | list) else [found]:
            assert not isinstance(one, torch.Tensor) or one.dtype != torch.float64, function
        return found


@pytest.mark.parametrize("missing", ["error", "omit"])
def test_no_double_precision_is_needed(missing):
    with _NoDouble():
        everything((4, 6, 3), torch.float32, missing, "layer")
