"""A network on top of another module: by hand, trained as a whole, and its head alone."""

import numpy as np
import pytest
import torch
from pyro import poutine

from pyro_ugmm.diagnostics import class_probabilities, loo, to_inference_data
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import DeepClassifier, Priors
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.saving import load_fitted, save_fitted
from pyro_ugmm.training import fit_mle, fit_svi
from tests.diagnostics.arviz_words import TOTAL


def body():
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(12, 4),
        torch.nn.LayerNorm(4),
    )


def images(n_rows=30):
    """Bright on the left, or on the right."""
    y = torch.arange(n_rows) % 2
    x = 0.3 * torch.randn(n_rows, 1, 4, 4)
    x[y == 0, :, :, :2] += 1
    x[y == 1, :, :, 2:] += 1
    return x, y


def deep(priors=None, **options):
    return DeepClassifier(body(), UGMMNetwork([4, 2], **options), priors, input_shape=(1, 4, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_are_the_heads_of_the_bodys(dtype):
    x, y = images()
    model = deep(Priors()).to(dtype)
    x = x.to(dtype)
    torch.testing.assert_close(model.scores(x), model.network(model.body(x)))
    trace = poutine.trace(model).get_trace(x, y)
    trace.compute_log_prob()
    draws = {name: trace.nodes[name]["value"] for name in model.site_distributions()}
    scores = model.head.scores(model.features(x), draws)
    expected = scores.log_softmax(-1)[range(30), y]
    torch.testing.assert_close(trace.nodes["y"]["log_prob"], expected)
    torch.testing.assert_close(model.log_likelihood(x, y, draws=draws), expected)
    many = {name: torch.stack([value, value]) for name, value in draws.items()}
    torch.testing.assert_close(model.log_likelihood(x, y, draws=many)[1], expected)
    assert model(x.numpy()).shape == (30,)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_the_body_learns_unless_it_is_frozen(is_frozen):
    x, y = images()
    model = deep()
    model.body.requires_grad_(not is_frozen)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit_mle(model, x, y, steps=60, learning_rate=0.02, seed=0, progress=False)
    assert is_frozen or (model.scores(x).argmax(-1) == y).double().mean() > 0.9
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) is (is_frozen and name.startswith("body"))


def test_the_ways_to_a_posterior():
    x, y = images()
    model = deep(Priors())
    guide = mean_field(model)
    bias = model.body[0].bias.detach().clone()
    fit_svi(
        model, guide, x, y, steps=100, batch_size=15, learning_rate=0.02, seed=0, progress=False
    )
    assert not torch.equal(model.body[0].bias, bias)
    probabilities = class_probabilities(model, guide, x, num_samples=50).mean(0)
    assert (probabilities.argmax(-1) == y).double().mean() > 0.9
    sample = sample_posterior(
        model.head, model.features(x), y, num_particles=64, most_moves=5, seed=0, progress=False
    )
    idata = to_inference_data(model.head, sample, model.features(x), y)
    assert loo(idata)[TOTAL] < 0
    whole = to_inference_data(model, guide, x, y, num_samples=20)
    assert whole.log_likelihood["y"].shape == (1, 20, 30)


def test_the_head_goes_to_a_file(tmp_path):
    x, _ = images()
    model = deep(Priors())
    head, guide = model.head, mean_field(model.head)
    guide(model.features(x))
    save_fitted(tmp_path / "head", head, guide)
    again, _ = load_fitted(tmp_path / "head")
    torch.testing.assert_close(again.scores(model.features(x)), model.scores(x))
    with pytest.raises(ValueError, match=r"model: expected one of .*got DeepClassifier"):
        save_fitted(tmp_path / "whole", model, guide)


class Odd(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return self.value(x)


X, Y = images()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: deep()(X[:, 0]), r"x: expected shape \(n, 1, 4, 4\), got \(30, 4, 4\)"),
        (lambda: deep()(X[:0]), r"x: expected shape \(n, 1, 4, 4\), got \(0, 1, 4, 4\)"),
        (lambda: deep()(X.log()), "x: expected finite values"),
        (lambda: deep()(X, Y[1:]), "y: expected 30 labels"),
        (lambda: deep()(X, Y + 1), "y: expected labels from 0 to 1"),
        (
            lambda: DeepClassifier(lambda x: x, UGMMNetwork([4, 2]), input_shape=(4,)),
            "body: expected a torch.nn.Module, got function",
        ),
        (
            lambda: DeepClassifier(body(), UGMMNetwork([5, 2]), input_shape=(1, 4, 4)),
            r"body: expected features of shape \(1, 5\), of rows, got \(1, 4\)",
        ),
        (
            lambda: DeepClassifier(Odd(lambda x: x / 0), UGMMNetwork([4, 2]), input_shape=(4,)),
            "body: expected finite features, got nan",
        ),
        (
            lambda: DeepClassifier(Odd(lambda x: (x, x)), UGMMNetwork([4, 2]), input_shape=4),
            r"body: expected features of shape \(1, 4\), of rows, got tuple",
        ),
        (
            lambda: DeepClassifier(body(), UGMMNetwork([4, 2]), input_shape=(1, 0, 4)),
            "input_shape: expected a positive integer, got 0",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_arrays_of_whole_numbers_are_rows():
    model = DeepClassifier(Odd(lambda x: x.float() / 255), UGMMNetwork([4, 2]), input_shape=(4,))
    assert model.scores(np.arange(8, dtype=np.uint8).reshape(2, 4)).shape == (2, 2)
