"""Programs that cannot be seen through are refused, with what is expected, before any number."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_ugmm.diagnostics import to_inference_data
from pyro_ugmm.guides import mean_field
from pyro_ugmm.training import fit_mle, fit_svi
from tests.programs.regressions import X, Y, with_size, without_size


def normal(name="w"):
    return pyro.sample(name, dist.Normal(0.0, 1.0))


def nothing_observed(x, y=None):
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(normal(), 1.0))


def two_observed(x, y=None):
    w = normal()
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(w, 1.0).expand([3]).to_event(1), obs=x)
        pyro.sample("y", dist.Normal(w, 1.0), obs=y)


def a_factor(x, y=None):
    without_size(x, y)
    pyro.factor("more", torch.tensor(1.0))


def no_plate(x, y=None):
    pyro.sample("y", dist.Normal(normal(), 1.0).expand([len(x)]).to_event(1), obs=y)


def nested_plates(x, y=None):
    w = normal()
    with pyro.plate("features", 3, dim=-1), pyro.plate("data", len(x), dim=-2):
        pyro.sample("x", dist.Normal(w, 1.0), obs=x)


def subsamples(x, y=None):
    w = normal()
    with pyro.plate("data", len(x), subsample_size=5) as at:
        pyro.sample("y", dist.Normal(w, 1.0), obs=y[at])


def other_rows(x, y=None):
    w = normal()
    with pyro.plate("data", 7):
        pyro.sample("y", dist.Normal(w, 1.0), obs=y[:7])


def a_discrete_site(x, y=None):
    w = pyro.sample("w", dist.Bernoulli(0.5))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(w, 1.0), obs=y)


def a_local_site(x, y=None):
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(normal(), 1.0), obs=y)


REFUSED = {
    nothing_observed: r"one observed site, given data .*, got observed sites \[\]",
    two_observed: r"one observed site, .*, got observed sites \['x', 'y'\]",
    a_factor: r"one observed site, .*, got observed sites \['y', 'more'\]",
    no_plate: "y in one plate, at dimension -1, of all 30 rows, got plates none",
    nested_plates: "x in one plate, at dimension -1, of all 30 rows, got plates 'features'",
    subsamples: "y in one plate, .* got plates 'data' at -1 of 5 of 30",
    other_rows: "y in one plate, .* got plates 'data' at -1 of 7 of 7",
    a_discrete_site: "continuous latent sites .*, got w with support Boolean",
    a_local_site: "latent sites outside of the plate 'data' of the rows, got w in it",
}


@pytest.mark.parametrize("program", REFUSED, ids=lambda program: program.__name__)
def test_programs_that_cannot_be_seen_through(program):
    message = f"model: expected .*{REFUSED[program]}"
    for call in (
        lambda: mean_field(program, x=X, y=Y),
        lambda: fit_svi(program, lambda x, y, size=None: None, X, Y, steps=2, progress=False),
        lambda: fit_mle(program, X, Y, steps=2, progress=False),
        lambda: to_inference_data(program, lambda x, y: None, X, Y),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_field(3), "model: expected a Pyro model, such as .*, got int"),
        (lambda: mean_field(dist.Normal), "model: expected a Pyro model"),
        (lambda: mean_field(with_size, start=3), "start: expected values by site, or None"),
        (
            lambda: mean_field(with_size, start={"v": 0.0}, x=X, y=Y),
            r"start: expected values of sites among \['w'\], got \['v'\]",
        ),
        (
            lambda: mean_field(with_size, start={"w": torch.ones(2)}, x=X, y=Y),
            r"start: expected w of shape \(3,\), got \(2,\)",
        ),
        (lambda: mean_field(with_size, x=X, y=Y[:4]), "y: expected 30 rows, as x has"),
        (lambda: mean_field(with_size, x=X[:0], y=Y[:0]), "x: expected at least one row"),
        (
            lambda: fit_svi(without_size, mean_field(without_size), X, Y, batch_size=10, steps=2),
            "model: expected one that takes size, as steps are of 10 of 30 rows",
        ),
        (lambda: fit_mle(with_size, X, Y), r"model: expected a model without priors.*\['w'\]"),
        (
            lambda: to_inference_data(with_size, lambda x, y: None, X, Y),
            "inference: expected a draw of the site 'w'",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
