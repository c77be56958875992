"""Runs that break down say where: the site, the parameter, the rows."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.training import fit_mle, fit_svi
from tests.models.networks import QUIET, data, network


def test_a_loss_that_breaks_down_stops_the_run_and_says_where():
    x, y = data()
    net = network()
    result = fit_mle(UGMMClassifier(net, copy=False), x, y, steps=200, learning_rate=1e30, **QUIET)
    assert not result.converged and result.n_steps < 200
    assert (
        "Lower the learning rate" in result.reason
        and "parameter model.network.layers." in result.reason
    )
    assert net(x).isfinite().all()  # the step that did it is taken back


def broken(later):
    """A model and a guide, whose draw of the site ``means`` is off by ``later`` after one step."""
    x = torch.zeros(20, 1)
    model = BayesianGaussianMixture(1, 1, "diagonal", Priors(variances=None))
    model.learned.requires_grad_(False)

    def guide(x, size=None):
        loc = pyro.param("loc", torch.ones(()))
        value = loc + torch.where(loc.detach() == 1, 0.0, later)
        return {"means": pyro.sample("means", dist.Delta(value.expand(1, 1), event_dim=2))}

    return model, guide, x


@pytest.mark.parametrize(
    ("later", "said"),
    [(math.nan, "the value of site means"), (1e30, "the log density of site means")],
)
def test_a_breakdown_names_the_first_site(later, said):
    result = fit_svi(*broken(later), steps=5, **QUIET)
    assert result.n_steps == 2 and not result.converged
    assert f"at step 2: {said} is not finite" in result.reason


def test_a_breakdown_names_the_first_parameter():
    model, guide, x = broken(0.0)
    result = fit_svi(model, guide, x, steps=5, learning_rate=lambda step: 1e39, **QUIET)
    assert result.n_steps == 2 and "parameter guide.loc is not finite" in result.reason
    with pyro.get_param_store().scope(result.guide.state):
        assert pyro.param("loc").isfinite()


def test_a_breakdown_at_the_last_step_is_said():
    class Late(torch.autograd.Function):
        @staticmethod
        def forward(ctx, loss):
            return loss.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * math.nan

    model = UGMMClassifier(network())
    net = model.network
    original, calls = model.row_terms, []

    def row_terms(*rows):
        calls.append(1)
        terms = original(*rows)
        return Late.apply(terms) if len(calls) == 5 else terms

    model.row_terms = row_terms
    result = fit_mle(model, *data(), steps=5, **QUIET)
    assert "parameter model.network.layers.0.loc is not finite after step 5" in result.reason
    assert all(parameter.isfinite().all() for parameter in net.parameters())


def test_a_breakdown_names_the_rows():
    x, y = data()
    x[7] = 1e25
    result = fit_mle(UGMMClassifier(network()), x, y, steps=5, **QUIET)
    assert "the terms of 1 of 40 rows of the batch, the first of them row 7" in result.reason
    model = UGMMClassifier(network(), Priors())
    result = fit_svi(model, mean_field(model), x, y, steps=5, **QUIET)
    assert "the first of them row 7, are not finite" in result.reason


def test_a_breakdown_at_the_first_step_says_that_none_was_taken():
    x, y = data()
    x[7] = 1e25
    model = UGMMClassifier(network(), Priors())
    for result in (
        fit_mle(UGMMClassifier(network()), x, y, steps=5, **QUIET),
        fit_svi(model, mean_field(model), x, y, steps=5, **QUIET),
    ):
        assert result.n_steps == 1 and "at step 1: " in result.reason
        assert "no step was taken. Check the scale of the data" in result.reason
        assert "taken back" not in result.reason and "Lower" not in result.reason


def test_a_breakdown_at_the_first_step_after_a_checkpoint_keeps_what_was_there(tmp_path):
    def run(factor, stop):
        """A run whose likelihood is multiplied by a factor, interrupted at a step."""
        model = UGMMClassifier(network())
        original, calls = model.row_terms, []

        def row_terms(*rows):
            calls.append(1)
            if len(calls) == stop:
                raise KeyboardInterrupt
            return original(*rows) * factor

        model.row_terms = row_terms
        kwargs = {"steps": 9, "checkpoint": tmp_path / "run.pt", "checkpoint_every": 3, **QUIET}
        return fit_mle(model, *data(), **kwargs), [*model.parameters()]

    first, kept = run(1.0, stop=4)
    result, found = run(math.nan, stop=None)
    assert first.n_steps == 3 and result.n_steps == 4 and "nan at step 4" in result.reason
    assert all(torch.equal(a, b) for a, b in zip(kept, found, strict=True))
