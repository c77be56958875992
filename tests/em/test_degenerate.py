"""Rows that leave a covariance singular but for rounding: EM ends in words, and in numbers."""

import math

import numpy as np
import pytest
import torch

from pyro_ugmm.distributions import DiagonalCovariance, FullCovariance, GaussianMixture
from pyro_ugmm.distributions.factorization import factorize
from pyro_ugmm.em import ConjugatePrior, EMFitter, initialize

from .cases import STRUCTURE_NAMES, clusters
from .degenerate_rows import ROWS, SETTINGS, assert_ends_well, few_distinct

every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


@every_dtype
@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("rows", ROWS)
def test_no_rows_make_it_raise(rows, settings, structure, dtype):
    for seed, scale in enumerate([1e-8, 1.0, 1e3, 1e8]):
        torch.manual_seed(seed)
        x = rows(torch.randn, 4) * scale
        assert_ends_well(x.to(dtype), structure, seed, **SETTINGS[settings])


@pytest.mark.parametrize("structure", ["full", "tied"])
def test_many_fits_to_five_distinct_rows_among_twenty(structure, attacks):
    for seed in attacks(150):
        torch.manual_seed(seed)
        assert_ends_well(1e3 * few_distinct(torch.randn, 4), structure, seed)


@every_dtype
@pytest.mark.parametrize("n_features", [1, 2, 4, 9, 30])
@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
def test_what_is_factored_can_be_factored_again(dtype, n_features, rank, unit):
    """In another order of the features, which rounds in another way."""
    torch.manual_seed(0)
    factor = unit * torch.randn(200, n_features, rank, dtype=torch.float64)
    rounding = torch.rand(200, n_features, n_features, dtype=torch.float64) - 0.5
    matrices = (factor @ factor.mT) * (1 + 4 * torch.finfo(dtype).eps * rounding)
    matrices, factors, _ = factorize(matrices.to(dtype))
    assert torch.equal(matrices, matrices.mT)
    again = [matrices, matrices.flip(-1, -2), matrices * (1 + 0.5 * torch.finfo(dtype).eps)]
    for one in again:
        assert (torch.linalg.cholesky_ex(one).info == 0).all()
    scale = matrices.diagonal(dim1=-2, dim2=-1).amax((-1, -2)).max().item()
    torch.testing.assert_close(factors @ factors.mT, matrices, rtol=1e-4, atol=1e-5 * scale)


def test_a_prior_that_is_singular_in_single_precision():
    x = clusters(40, dtype=torch.float32)
    covariance = torch.ones(3, 3).double() + 1e-9 * torch.eye(3)
    prior = ConjugatePrior(x.mean(0).double(), covariance, covariance_strength=2)
    result = EMFitter(prior=prior, progress=False).fit(x, initialize(x, 2, seed=0))
    assert math.isfinite(result.objective)


def test_lost_components_of_all_restarts_are_revived_in_one_reading():
    x = clusters(120)
    start = initialize(x, 3, n_init=4, seed=0)
    start.means[:, 1:] = 1e6
    readings = []

    class Stream:
        def __iter__(self):
            readings.append(1)
            yield from x.split(40)

    result = EMFitter(max_iter=2, tol=0, progress=False).fit(Stream(), start)
    assert len(readings) == 4  # two steps, the last mixtures, and the worst rows
    assert {event.kind for event in result.events} == {"revived"} and len(result.events) == 2


def good(**changes):
    values = {"weights": torch.ones(2) / 2, "means": torch.zeros(2, 3)}
    values |= {"covariance": DiagonalCovariance(torch.ones(2, 3))} | changes
    return GaussianMixture(**values, validate_args=False)


BAD_STARTS = {
    "a string": ("kmeans", "expected a GaussianMixture, such as .* makes, got str"),
    "none": (None, "expected a GaussianMixture, such as .* makes, got NoneType"),
    "a class": (
        GaussianMixture,
        "expected a GaussianMixture, such as .* makes, got DistributionMeta",
    ),
    "two batch dimensions": (good().expand((2, 2)), "expected batch shape"),
    "a mean of NaN": (good(means=torch.full((2, 3), math.nan)), "expected finite parameters"),
    "an infinite weight": (good(weights=torch.tensor([math.inf, 0])), "expected finite"),
    "negative variances": (
        good(covariance=DiagonalCovariance(-torch.ones(2, 3), validate_args=False)),
        "expected positive definite",
    ),
    "a matrix that is none": (
        good(covariance=FullCovariance(1 - torch.eye(3).expand(2, 3, 3), validate_args=False)),
        "expected positive definite",
    ),
}


@pytest.mark.parametrize("start", BAD_STARTS)
def test_a_bad_start_is_named(start):
    value, expected = BAD_STARTS[start]
    x = clusters(20, dtype=torch.float32)
    with pytest.raises(ValueError, match=f"^start: {expected}"):
        EMFitter().fit(x, value)
    with pytest.raises(ValueError, match=f"^mixture: {expected}"):
        EMFitter().e_step(x, value)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, torch.tensor])
def test_settings_are_plain_numbers(kind):
    fitter = EMFitter(tol=kind(1), reg_covar=kind(2))
    prior = ConjugatePrior(torch.zeros(1), torch.eye(1), kind(1), kind(2), kind(3))
    numbers = fitter.tol, fitter.reg_covar, prior.mean_strength, prior.covariance_strength
    assert all(type(number) is float for number in (*numbers, prior.concentration))
    assert type(EMFitter(max_iter=np.int64(3)).max_iter) is int


@pytest.mark.parametrize("value", [True, "1", None, [1], math.nan, math.inf, -1, 1j])
def test_settings_that_are_no_numbers(value):
    for name in ("tol", "reg_covar", "max_iter"):
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            EMFitter(**{name: value})
    for name in ("mean_strength", "covariance_strength", "concentration"):
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            ConjugatePrior(torch.zeros(1), torch.eye(1), **{name: value})
