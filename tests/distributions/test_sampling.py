"""Shapes, generators and threads of draws."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from pyro_ugmm.distributions import UnivariateGaussianMixture, impute
from tests.distributions.mixtures import STRUCTURES, random_mixture


def _univariate(*batch):
    return UnivariateGaussianMixture(torch.zeros(*batch, 2), torch.ones(2), logits=torch.zeros(2))


def _random(structure, *batch):
    return random_mixture(structure, batches=(batch, (), ()))[0]


MAKERS = {name: lambda *batch, s=name: _random(s, *batch) for name in STRUCTURES}
MAKERS["univariate"] = _univariate
by_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@by_maker
@pytest.mark.parametrize(
    "shape", [(0,), (3, 0), (0, 2), (2,), (), [2, 1], torch.Size([0]), (np.int64(2),)]
)
@pytest.mark.parametrize("batch", [(), (4,)])
def test_shapes_of_draws(make, shape, batch):
    mixture, expected = make(*batch), (*shape, *batch)
    value, component = mixture.sample_with_component(shape)
    assert component.shape == expected and component.dtype == torch.long
    assert value.shape == mixture.sample(shape).shape == expected + mixture.event_shape
    assert mixture.rsample(shape).shape == expected + mixture.event_shape
    assert mixture.expand((3, *batch)).sample(shape).shape == (
        *shape,
        3,
        *batch,
        *mixture.event_shape,
    )


@by_maker
@pytest.mark.parametrize("shape", [5, -1, (-1,), (2.5,), ("a",), (True,), None, (3, -2)])
@pytest.mark.parametrize("method", ["sample", "sample_with_component", "rsample"])
def test_shapes_that_are_none(make, shape, method):
    with pytest.raises(ValueError, match=r"sample_shape: expected .*integer"):
        getattr(make(), method)(shape)


@by_maker
@pytest.mark.parametrize("method", ["sample", "sample_with_component", "rsample"])
def test_a_generator_is_all_that_is_drawn_from(make, method):
    mixture = make()
    state, draws = torch.get_rng_state(), []
    for seed in (1, 1, 2):
        found = getattr(mixture, method)((5,), generator=torch.Generator().manual_seed(seed))
        draws.append(found if method != "sample_with_component" else found[0])
    assert torch.equal(*draws[:2]) and not torch.equal(*draws[1:])
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    expected = getattr(mixture, method)((5,))
    assert torch.equal(draws[0], expected[0] if isinstance(expected, tuple) else expected)


def test_seeded_imputations_agree_in_threads_and_leave_no_trace():
    mixture = _random("full")
    x = torch.full((30, 2), torch.nan, dtype=torch.float64)
    x[::2, 0] = 1
    expected, state = impute(mixture, x, num_samples=4, seed=3), torch.get_rng_state()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(impute, mixture, x, num_samples=4, seed=3) for _ in range(60)]
    assert all(torch.equal(call.result(), expected) for call in calls)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("seed", "number"), [(-1, 2), (1.5, 2), (True, 2), (0, 2.0), (0, "2")])
def test_bad_seeds_and_numbers(seed, number):
    with pytest.raises(ValueError, match=r"(seed|num_samples): expected"):
        impute(_random("full"), torch.zeros(1, 2).double(), num_samples=number, seed=seed)


def test_nothing_is_imputed_of_nothing():
    x = torch.zeros(0, 2).double()
    assert impute(_random("full"), x).shape == (0, 2)
    assert impute(_random("full"), x, num_samples=3).shape == (3, 0, 2)
