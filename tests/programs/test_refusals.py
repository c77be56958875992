"""Programs that cannot be seen through are refused, with what is expected, before any number."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_ugmm.diagnostics import to_inference_data
from pyro_ugmm.guides import mean_field
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.training import fit_mle, fit_svi
from tests.programs.regressions import X, Y, with_size, without_size


def normal(name="w"):
    return pyro.sample(name, dist.Normal(0.0, 1.0))


def nothing_observed(x, y=None):
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(normal(), 1.0))


def without_a_plate(x, y=None):
    pyro.sample("y", dist.Normal(normal(), 1.0).expand([len(x)]), obs=y)


def a_count(x, y=None):
    w = pyro.sample("w", dist.Poisson(2.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(w, 1.0), obs=y)


def a_point(x, y=None):
    w = pyro.sample("w", dist.Delta(torch.tensor(1.0)))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(w, 1.0), obs=y)


def own_effects(x, y=None, size=None):
    """An effect of its own for each row."""
    n_rows = len(x) if size is None else size
    with pyro.plate("data", n_rows, subsample=torch.arange(len(x))):
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(effect, 1.0), obs=y)


def of_two(x, y=None, size=None):
    pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))


def one_scale(x, y=None):
    scale = pyro.sample("scale", dist.HalfNormal(1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(0.0, scale), obs=y)


def of_negative_scale(x, y=None):
    pyro.sample("scale", dist.Normal(torch.zeros(()) - 1.0, 0.01))


REFUSED = {
    nothing_observed: r"an observed site, given data .*, got .* draws of \['w', 'y'\]",
    without_a_plate: r"y in a plate for each of its dimensions .*, got .* \(30,\) in plates {}",
    a_count: "discrete latent sites whose values Pyro can enumerate, .*, got w with support",
    a_point: "latent sites with a density .*, got w, a Delta",
}


@pytest.mark.parametrize("program", REFUSED, ids=lambda program: program.__name__)
def test_programs_that_cannot_be_seen_through(program):
    message = f"model: expected .*{REFUSED[program]}"
    for call in (
        lambda: mean_field(program, x=X, y=Y),
        lambda: fit_svi(program, lambda x, y, size=None: None, X, Y, steps=2, progress=False),
        lambda: fit_mle(program, X, Y, steps=2, progress=False),
        lambda: to_inference_data(program, lambda x, y: None, X, Y),
        lambda: sample_posterior(program, X, Y, progress=False),
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
        (
            lambda: fit_svi(own_effects, mean_field(own_effects), X, Y, batch_size=10, steps=2),
            r"batch_size: expected None, as \['effect'\] have a value for each row, .* of 10 rows",
        ),
        (
            lambda: fit_svi(with_size, of_two, X, Y, steps=2),
            r"guide: .*got of_two: it draws w of shape \(2,\), the model \(3,\)",
        ),
        (
            lambda: fit_svi(one_scale, of_negative_scale, X, Y, steps=2),
            "guide: .*got of_negative_scale: it draws values of scale that are not within Greater",
        ),
        (lambda: fit_mle(with_size, X, Y), r"model: expected a model without priors.*\['w'\]"),
        (
            lambda: to_inference_data(with_size, lambda x, y: None, X, Y),
            "inference: expected one of this model.*it does not draw the site 'w'",
        ),
        (
            lambda: fit_svi(with_size, lambda x, y, size=None: None, X, Y, steps=2),
            "guide: expected one of this model.*it does not draw the site 'w'",
        ),
        (
            lambda: mean_field(with_size, x={"x": X, "z": Y}),
            r"x: expected a dictionary of the model's arguments \['x', 'y', 'size'\], got",
        ),
        (lambda: mean_field(with_size, x={"x": X}, y=Y), "y: expected all data in the dictionary"),
        (
            lambda: mean_field(lambda *, x: None, x={"x": X}),
            "x: expected arguments that can be given by position .*, got .'x'. by name alone",
        ),
        (
            lambda: to_inference_data(with_size, mean_field(with_size), {"x": X}),
            r"model: expected .* an observed site, given data",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
