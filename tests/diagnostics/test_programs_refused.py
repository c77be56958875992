"""Programs and guides that an entry cannot take: a ValueError with the site and the remedy."""

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_ugmm.diagnostics import (
    importance_resample,
    kfold,
    loo,
    pareto_k,
    simulate_calibration,
    to_inference_data,
)
from pyro_ugmm.guides import mean_field
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.training import fit_svi

GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(2, 6, generator=GENERATOR)
LINE = {"x": X, "y": Y}
QUIET = {"seed": 0, "progress": False}


def slope():
    return pyro.sample("slope", dist.Normal(0.0, 1.0))


def observe(mean, y):
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def line(x, y):
    observe(slope() * x, y)


def guide(*data):
    scale = pyro.param("scale", torch.tensor(0.5), constraint=dist.constraints.positive)
    pyro.sample("slope", dist.Normal(0.0, scale))


def infer(model, x, y):
    return guide


# Entries of a program with its data and a guide, by the argument that is the guide's.
ENTRIES = {
    "guide": lambda program, guide, x: fit_svi(program, guide, x, steps=1, **QUIET),
    "inference": lambda program, guide, x: to_inference_data(program, guide, x, num_samples=2),
    "start": lambda program, guide, x: sample_posterior(
        program, x, start=guide, num_particles=8, **QUIET
    ),
    "make_guide": lambda program, guide, x: kfold(
        program, lambda model: guide, x, folds=2, steps=1, **QUIET
    ),
    "infer": lambda program, guide, x: simulate_calibration(
        program, lambda model, x, y: guide, x, num_simulations=10, num_draws=9, **QUIET
    ),
}


# -- guides ---------------------------------------------------------------------------------


def of_nothing(x, y):
    pyro.param("scale", torch.tensor(0.5))


def of_more(x, y):
    guide()
    pyro.sample("other", dist.Normal(0.0, 1.0))


def of_two(x, y):
    pyro.sample("slope", dist.Normal(torch.zeros(2), 1.0).to_event(1))


def of_one_argument(x):
    guide()


def without_the_key(x, y):
    {}["scale"]


GUIDES = {
    of_nothing: r"it does not draw the site 'slope', but \[\]",
    of_more: r"it draws \['other'\], which are no sites that the model infers",
    of_two: r"it draws slope of shape \(2,\), the model \(\)",
    line: r"it observes \['y'\], as a model does",
    of_one_argument: "of_one_argument.* takes 1 positional argument but 2 were given",
    without_the_key: "KeyError: 'scale'",
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("other", GUIDES, ids=lambda program: program.__name__)
@pytest.mark.filterwarnings("ignore:Found")
def test_guides_of_something_else(other, entry):
    with pytest.raises(ValueError, match=GUIDES[other]) as raised:
        ENTRIES[entry](line, other, LINE)
    assert "such as mean_field(model)" in str(raised.value)


# -- arguments ------------------------------------------------------------------------------


def of_three(x, offset, y):
    observe(slope() * x + offset, y)


def by_name(x, *, y):
    line(x, y)


def scaled(x, y, *, scale):
    observe(slope() * x / scale, y)


def with_defaults(x, y, *, scale=1.0, size=None):
    scaled(x, y, scale=scale)


ARGUMENTS = {
    of_three: (LINE, r"x: expected a dictionary of .*\['x', 'offset', 'y'\], got .* 'offset'"),
    by_name: (LINE, r"x: expected .*\(.*lambda x, y: model\(x, y=y\).*\), got \['y'\] by name"),
    scaled: (LINE | {"scale": 2.0}, r"x: .*functools.partial.*, got \['scale'\] by name alone"),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("program", ARGUMENTS, ids=lambda program: program.__name__)
def test_arguments_that_do_not_fit(program, entry):
    data, message = ARGUMENTS[program]
    with pytest.raises(ValueError, match=message):
        ENTRIES[entry](program, guide, data)
    with pytest.raises(ValueError, match=r"(x|model): expected .*called with x"):
        ENTRIES[entry](program, guide, X)


@pytest.mark.parametrize("program", [of_three, by_name, scaled], ids=lambda one: one.__name__)
def test_arguments_by_position_that_do_not_fit(program):
    expected = r"model: expected one that is called with x and y \(.*, in a dictionary x\), got"
    for call in (mean_field, functools.partial(sample_posterior, progress=False)):
        with pytest.raises(ValueError, match=expected):
            call(program, **LINE)


REMEDIES = {
    "partial": functools.partial(scaled, scale=1.0),
    "lambda": lambda x, y: by_name(x, y=y),
    "defaults": with_defaults,
}


@pytest.mark.parametrize("kind", REMEDIES)
def test_remedies_for_arguments_by_name(kind):
    expected = sample_posterior(line, LINE, num_particles=16, **QUIET).draws["slope"]
    found = sample_posterior(REMEDIES[kind], LINE, num_particles=16, **QUIET).draws["slope"]
    assert torch.equal(found, expected)
    for entry in ENTRIES.values():
        entry(REMEDIES[kind], guide, LINE)


# -- rows -----------------------------------------------------------------------------------


def one_by_one(x, y):
    at = slope()
    for i in pyro.plate("rows", len(y)):
        pyro.sample(f"y_{i}", dist.Normal(at * x[i], 1.0), obs=y[i])


def effects_one_by_one(x, y):
    at = slope()
    for i in pyro.plate("rows", len(y)):
        effect = pyro.sample(f"effect_{i}", dist.Normal(at, 1.0))
        pyro.sample(f"y_{i}", dist.Normal(effect, 1.0), obs=y[i])


def all_at_once(x, y):
    pyro.sample("y", dist.Normal(slope() * x, 1.0).to_event(1), obs=y)


def of_two_plates(x, y):
    at = slope()
    with pyro.plate("firsts", len(x)):
        pyro.sample("x", dist.Normal(at, 1.0), obs=x)
    with pyro.plate("seconds", len(y)):
        pyro.sample("y", dist.Normal(at, 1.0), obs=y)


def of_nested_plates(x, y):
    at = slope()
    with pyro.plate("columns", 2, dim=-2), pyro.plate("rows", len(y), dim=-1):
        pyro.sample("y", dist.Normal(at, 1.0), obs=y.expand(2, -1))


def with_one_label(x, y):
    at = slope()
    label = pyro.sample("label", dist.Bernoulli(0.5))
    observe(at * x + label, y)


def with_a_total(x, y):
    at = slope()
    observe(at * x, y)
    pyro.sample("total", dist.Normal(at, 1.0), obs=y.sum())


def drawn_rows(x, y):
    at = slope()
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(at, 1.0))
        pyro.sample("y", dist.Normal(at * x, 1.0))


def hold_rows():
    observe(slope() * X, Y)


IN_A_PLATE = (
    r"in one vectorized plate \(with pyro.plate\(...\):, .*\), with the discrete sites that .*"
)
LOO = {
    one_by_one: rf"idata: expected .* {IN_A_PLATE}, got \['y_0', .*\] of all data at once",
    all_at_once: rf"idata: expected .* {IN_A_PLATE}, got \['y'\] of all data at once",
    with_one_label: rf"idata: .* {IN_A_PLATE}, got \['y by all'\] of all data at once",
    of_two_plates: r"var_name: expected one of \['x', 'y'\], .* plates {'x': \['firsts'\], 'y'",
}
FOLDS = {
    one_by_one: rf"model: .* {IN_A_PLATE}, got sites in plates {{'y_0': \[\], 'y_1'",
    all_at_once: rf"model: .* {IN_A_PLATE}, got sites in plates {{'y': \[\]}}",
    of_two_plates: rf"model: .* {IN_A_PLATE}, got sites in plates {{'x': \['firsts'\], 'y'",
    of_nested_plates: rf"model: .* {IN_A_PLATE}, got .*{{'y': \['columns', 'rows'\]}}",
    with_a_total: rf"model: .* {IN_A_PLATE}, got .*{{'y': \['rows'\], 'total': \[\]}}",
}


@pytest.mark.parametrize("program", LOO, ids=lambda program: program.__name__)
def test_rows_that_loo_does_not_find(program):
    idata = to_inference_data(program, guide, LINE, num_samples=100, seed=0)
    pareto_k(idata), importance_resample(idata)  # which ask for no rows
    for data in ((), (program, LINE)):
        with pytest.raises(ValueError, match=LOO[program]):
            loo(idata, *data)


@pytest.mark.parametrize("make_guide", [None, mean_field], ids=["sampling", "guides"])
@pytest.mark.parametrize("program", FOLDS, ids=lambda program: program.__name__)
def test_rows_that_kfold_does_not_find(program, make_guide):
    with pytest.raises(ValueError, match=FOLDS[program]):
        kfold(program, make_guide, LINE, folds=2, **QUIET)


@pytest.mark.parametrize("entry", ENTRIES)
def test_rows_that_are_drawn_where_data_should_be(entry):
    message = r"model: expected .*given data \(sample\(..., obs=y\).*draws of \['slope', 'x', 'y'\]"
    with pytest.raises(ValueError, match=message):
        ENTRIES[entry](drawn_rows, guide, LINE)


def test_rows_that_are_none_of_the_arguments():
    with pytest.raises(ValueError, match=r"make_guide: expected None, or .* arguments has the 6"):
        kfold(hold_rows, mean_field, {}, folds=2, **QUIET)
    found = kfold(hold_rows, None, {}, folds=2, num_particles=64, **QUIET)
    expected = kfold(line, None, LINE, folds=2, num_particles=64, **QUIET)
    assert torch.equal(
        torch.as_tensor(found.elpd_i.values), torch.as_tensor(expected.elpd_i.values)
    )


def test_sequential_plates_of_latent_sites():
    message = r"model: expected .*vectorized plates.*sample_posterior, got \['effect_0', 'effect_1'"
    with pytest.raises(ValueError, match=message):
        mean_field(effects_one_by_one, **LINE)
    with pytest.raises(ValueError, match=r"guide: .* AutoGuide does not support sequential"):
        fit_svi(effects_one_by_one, mean_field(effects_one_by_one), LINE, steps=1, **QUIET)
    sample = sample_posterior(effects_one_by_one, LINE, num_particles=16, **QUIET)
    assert {*sample.draws} == {"slope", *(f"effect_{i}" for i in range(6))}
