"""Tensors that follow where they go, through layers of each backend."""

import contextlib
import math

import pyro
import pytest
import torch
from pyro.infer.inspect import get_model_relations
from pyro.ops.provenance import get_provenance, track_provenance
from torch.overrides import TorchFunctionMode

from pyro_ugmm.models import Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMLayer, UGMMNetwork
from pyro_ugmm.nn.kernels import force_backend, layer_log_density
from pyro_ugmm.nn.kernels.tiled import Tiled
from tests.nn.kernels.cases import BACKENDS

CHOICES = [pytest.param(None, id="usual"), *BACKENDS]
SIZES = [(4, 3), (4, 300, 3)]  # small, and large enough for a backend


def forced(backend):
    return force_backend(backend) if backend else contextlib.nullcontext()


@pytest.mark.parametrize("backend", CHOICES)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("missing", ["error", "omit"])
@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_labels_depend_on_the_sites_of_every_layer(backend, sizes, missing, normalization):
    network = UGMMNetwork(sizes, missing=missing, normalization=normalization)
    model = UGMMClassifier(network, priors=Priors(weights=1.0))
    x, y = torch.randn(100, 4), torch.randint(3, (100,))
    with forced(backend):
        found = get_model_relations(model, (x, y))["sample_sample"]["y"]
    assert {*found} == {*model.site_distributions()}


@pytest.mark.parametrize("backend", CHOICES)
def test_densities_depend_on_their_sites(backend):
    model = UGMMDensity(UGMMNetwork([10, 80, 1]), 4, priors=Priors())
    x, y = torch.randn(200, 9), torch.randint(4, (200,))
    with forced(backend):
        found = get_model_relations(model, (x, y))["sample_sample"]
    assert {*found["y"]} == {*model.site_distributions()}


@pytest.mark.parametrize("backend", CHOICES)
@pytest.mark.parametrize("n_rows", [2, 3000])
@pytest.mark.parametrize("omit", [False, True])
@pytest.mark.parametrize("which", range(4))
def test_each_tensor_leaves_its_trace(backend, n_rows, omit, which):
    x, loc = torch.randn(n_rows, 4), torch.randn(3, 4)
    scale, log_weight = torch.rand(3, 4) + 0.5, torch.randn(3, 4).log_softmax(-1)
    if omit:
        x[0, 0] = math.nan
    tensors = [x, loc, scale, log_weight]
    expected = layer_log_density(*tensors, omit=omit)
    tensors[which] = track_provenance(tensors[which], frozenset({"here"}))
    with forced(backend):
        found = layer_log_density(*tensors, omit=omit)
    assert get_provenance(found) == {"here"}
    torch.testing.assert_close(found._t, expected)


class Tagged(torch.Tensor):
    """A tensor of a user's own kind, which torch's functions keep."""


class Seen(TorchFunctionMode):
    """Notes which functions of torch are called."""

    def __init__(self):
        super().__init__()
        self.functions = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.functions.append(function)
        return function(*args, **(kwargs or {}))


def test_other_kinds_of_tensors_and_modes_see_what_is_done():
    layer, x = UGMMLayer(60, 40), torch.randn(20, 60)
    assert isinstance(layer(x.as_subclass(Tagged)), Tagged)
    with Seen() as seen:
        layer(x)
    assert torch.Tensor.logsumexp in seen.functions


def test_the_default_device_is_no_such_mode(monkeypatch):
    """It overrides torch's functions, too; large layers keep their backend."""
    layer, x = UGMMLayer(60, 40), torch.randn(20, 60)
    called = []
    forward = Tiled.forward
    monkeypatch.setattr(Tiled, "forward", lambda *args: called.append(args) or forward(*args))
    with torch.device("cpu"), force_backend("tiled"):
        layer(x)
    assert len(called) == 1


def test_pyro_draws_the_arrows():
    pytest.importorskip("graphviz")
    model = UGMMClassifier(UGMMNetwork([4, 300, 3]), priors=Priors())
    graph = pyro.render_model(model, (torch.randn(100, 4), torch.randint(3, (100,))))
    assert "layers.0.loc" in graph.source and "->" in graph.source
