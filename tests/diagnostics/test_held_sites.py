"""A guide that holds a site at a point is named, whatever its other sites do."""

import math

import numpy as np
import pyro
import pytest
from pyro import poutine
from pyro.infer.autoguide import AutoDelta, AutoGuideList, AutoMultivariateNormal, AutoNormal

from pyro_ugmm.diagnostics import importance_resample, loo, pareto_k, to_inference_data
from pyro_ugmm.diagnostics.held_sites import held_sites
from tests.diagnostics.arviz_words import draws_of
from tests.models.mixtures import mixture, rows

SITES = ["weights", "means", "variances", "correlations"]


def inferred(model, guide, x):
    with pyro.get_param_store().scope():
        return to_inference_data(model, guide, x, num_samples=200, seed=0)


def drawn(held, make=AutoMultivariateNormal):
    """Draws from a guide that holds some sites of a mixture at a point."""
    model, x = mixture("full"), rows(40)
    guide = AutoGuideList(model)
    if held:
        guide.append(AutoDelta(poutine.block(model, expose=held)))
    free = [site for site in SITES if site not in held]
    if free:
        guide.append(make(poutine.block(model, expose=free)))
    return inferred(model, guide, x)


@pytest.mark.parametrize("held", [[site] for site in SITES] + [["means", "weights"], SITES])
def test_a_site_held_at_a_point_is_named(held):
    idata = drawn(held)
    k, verdict = pareto_k(idata)
    assert math.isnan(k) and "draws all alike" in verdict
    assert {site for site in SITES if site in verdict} == {*held}
    assert math.isnan(idata.posterior.attrs["pareto_k"])
    for correct in (importance_resample, loo):
        with pytest.warns(UserWarning, match=f"holds .*{held[0]}.* at a point"):
            found = correct(idata)
    assert found["warning"]


@pytest.mark.parametrize("make", [AutoNormal, AutoMultivariateNormal])
def test_numbers_constant_by_structure_do_not_count(make):
    assert not held_sites(drawn([], make))


def guess(values, prior):
    shape = (1, len(values))
    return draws_of(
        posterior={"theta": values.reshape(*shape, *values.shape[1:])},
        prior={"theta": prior.reshape(*shape, *prior.shape[1:])},
    )


NOISE = np.random.default_rng(0).normal(size=(300, 3))
SIMPLEX = np.random.default_rng(0).dirichlet(np.ones(3), 300)
TINY = np.stack([1 - 1e-9 * SIMPLEX[:, 0], 1e-9 * SIMPLEX[:, 0]], -1)


@pytest.mark.parametrize(
    ("values", "prior", "is_held"),
    [
        (NOISE, NOISE, False),
        (1e-3 * NOISE + 1, NOISE, False),
        (NOISE * [1, 1, 0], NOISE, True),  # one number of three
        (NOISE * [1, 1, 0], NOISE * [1, 1, 0], False),
        (NOISE * [1, 1, 1e-12], NOISE, True),
        (1e6 + NOISE * [1, 1, 1e-11], NOISE, True),
        ((1 + 1e-7 * NOISE).astype(np.float32), NOISE, True),
        ((1 + 1e-4 * NOISE).astype(np.float32), NOISE, False),
        (TINY.astype(np.float32), SIMPLEX[:, :2] / SIMPLEX[:, :2].sum(-1, keepdims=True), False),
        (np.full((300, 3), 1 / 3), SIMPLEX, True),
        (NOISE[:, 0], NOISE[:, 0], False),
        (0 * NOISE[:, 0], NOISE[:, 0], True),
    ],
)
def test_with_a_tolerance(values, prior, is_held):
    assert held_sites(guess(values, prior)) == ["theta"] * is_held


def test_without_draws_from_the_prior():
    values = {"a": NOISE[None] * [1, 1, 0], "b": 0 * NOISE[None]}
    assert held_sites(draws_of(posterior=values)) == ["b"]


def test_an_estimate_is_not_a_posterior():
    model, x = mixture("diagonal"), rows(40)
    assert "weights, means, variances" in pareto_k(inferred(model, AutoDelta(model), x))[1]
