"""Missing inputs of layers, networks and models."""

import math

import pytest
import torch

from pyro_ugmm.models import Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMLayer, UGMMNetwork
from pyro_ugmm.saving import load_fitted, save_fitted
from pyro_ugmm.training import fit_mle
from tests.nn.kernels.cases import textbook


def holes(x, share, seed=0):
    """Leaves a share of entries out, though never all of a row."""
    generator = torch.Generator().manual_seed(seed)
    hole = torch.rand(x.shape, generator=generator) < share
    hole[hole.all(-1), 0] = False
    return x.masked_fill(hole, math.nan)


@pytest.mark.parametrize("width", [6, 600])  # by the textbook, and by a backend
def test_a_score_is_that_of_a_layer_of_what_is_observed(width):
    torch.manual_seed(0)
    layer = UGMMLayer(width, 5, missing="omit", dtype=torch.float64)
    layer.logits = torch.randn(5, width).double()
    x = holes(torch.randn(20, width).double(), 0.5)
    found = layer(x)
    for row, score in zip(x, found, strict=True):
        seen = ~row.isnan()
        parts = (p[:, seen] for p in (layer.loc, layer.scale, layer.logits))
        torch.testing.assert_close(score, textbook(row[seen], *parts))
    found.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    whole = UGMMLayer(width, 5, dtype=torch.float64)
    whole.load_state_dict(layer.state_dict())
    full = torch.randn(20, width).double()
    torch.testing.assert_close(layer(full), whole(full))  # nothing is missing


def test_gradients_and_posterior_draws():
    torch.manual_seed(0)
    layer = UGMMLayer(4, 3, missing="omit", dtype=torch.float64)
    x = holes(torch.randn(6, 4).double(), 0.4)
    case = [torch.randn(2, 1, 3, 4), torch.rand(2, 1, 3, 4) + 0.3, torch.randn(2, 1, 3, 4)]
    case = [tensor.double().requires_grad_() for tensor in case]

    def score(loc, scale, logits):
        return layer(x, loc=loc, scale=scale, logits=logits)

    assert torch.autograd.gradcheck(score, case)
    draws = [tensor.squeeze(1) for tensor in case]
    one_by_one = [layer(x, loc=a, scale=b, logits=c) for a, b, c in zip(*draws, strict=True)]
    torch.testing.assert_close(score(*case), torch.stack(one_by_one))


def test_dropout_always_leaves_something():
    torch.manual_seed(0)
    layer = UGMMLayer(3, 4, dropout=0.9, missing="omit").train()
    x = torch.tensor([[1.0, math.nan, math.nan], [math.nan, 2.0, math.nan]])
    for _ in range(50):
        assert layer(x).isfinite().all()


def test_a_model_learns_from_rows_with_holes_and_is_saved(tmp_path):
    torch.manual_seed(0)
    y = torch.arange(200) % 2
    x = holes(torch.randn(200, 4) + 3.0 * y.unsqueeze(-1), 0.4) * 10 + 5
    network = UGMMNetwork([4, 6, 2], missing="omit")
    network.reset_parameters(x)
    model = UGMMClassifier(network)
    fit_mle(model, x, y, steps=200, progress=False, seed=0)
    assert (model.scores(x).argmax(-1) == y).float().mean() > 0.75  # 0.5 by chance
    assert Priors.from_data(x).spread.isfinite().all()
    save_fitted(tmp_path / "model.safetensors", model, None)
    again, _ = load_fitted(tmp_path / "model.safetensors")
    torch.testing.assert_close(again.scores(x), model.scores(x))
    density = UGMMDensity(UGMMNetwork([5, 6, 1], missing="omit"), 2)
    assert density.scores(x).isfinite().all()


ALL_MISSING = torch.tensor([[0.0, 1.0], [math.nan, math.nan]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UGMMLayer(2, 3, missing="impute"), "missing: expected one of .*got 'impute'"),
        (lambda: UGMMNetwork([2, 3], missing=None), "missing: expected one of .*got None"),
        (
            lambda: UGMMNetwork([2, 3], missing="omit")(ALL_MISSING),
            r"x: expected rows with an input that is not NaN, got nan at index \(1,\)",
        ),
        (
            lambda: UGMMClassifier(UGMMNetwork([2, 3], missing="omit"))(ALL_MISSING),
            r"x: expected finite values, or NaN in rows of which something was observed",
        ),
        (
            lambda: UGMMClassifier(UGMMNetwork([2, 3]))(ALL_MISSING),
            r"x: expected finite values \(missing='omit' takes NaN\)",
        ),
        (
            lambda: UGMMLayer(2, 3, missing="omit").reset_parameters(ALL_MISSING * math.nan),
            "x: expected columns of which something was observed",
        ),
        (lambda: UGMMLayer(2, 3).half()(ALL_MISSING.half()), "x: expected float32, float64 or bf"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_autocast_does_not_break_it():
    layer, x = UGMMLayer(4, 3), torch.randn(5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        head = torch.nn.Linear(4, 4)(x)
        assert head.dtype == torch.bfloat16 and layer(head).dtype == torch.float32
        torch.testing.assert_close(layer(x), layer(x))
