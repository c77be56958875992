"""Most probable completions against brute force."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp

from pyro_ugmm.distributions import most_probable_completion

from .products import grid, random_product, some_rows

NAN = torch.nan


def by_brute_force(mixture, row):
    """The best of all components and choices of Gaussians, the missing values at their means."""
    nodes, best = mixture.nodes, (-np.inf, None)
    missing = np.flatnonzero(np.isnan(row))
    for c in range(mixture.n_components):
        loc, scale, probs = (part[c].numpy() for part in (nodes.loc, nodes.scale, nodes.probs))
        for chosen in itertools.product(range(mixture.n_node_components), repeat=len(missing)):
            total, filled = np.log(mixture.weights[c].item()), row.copy()
            for d, value in enumerate(row):
                if not np.isnan(value):
                    total += logsumexp(stats.norm.logpdf(value, loc[d], scale[d]), b=probs[d])
            for d, m in zip(missing, chosen, strict=True):
                total += np.log(probs[d, m]) + stats.norm.logpdf(0, 0, scale[d, m])
                filled[d] = loc[d, m]
            best = max(best, (total, tuple(filled)))
    return best[1]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 999))
def test_the_best_of_all_components_is_found(n_components, n_features, n_gaussians, seed):
    mixture = random_product(n_components, n_features, n_gaussians, seed=seed)
    x = some_rows(4, n_features, seed)
    x[torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < 0.5] = NAN
    expected = [by_brute_force(mixture, row) for row in x.numpy()]
    np.testing.assert_allclose(most_probable_completion(mixture, x), expected, rtol=1e-14)


@pytest.mark.parametrize("seed", range(6))
def test_the_highest_density_is_found(seed):
    mixture = random_product(3, 3, 2, seed=seed)
    places, step = grid(-8, 8, 321)
    pairs = torch.cartesian_prod(places, places)
    for value in (-2.0, 0.0, 1.5):
        row = torch.tensor([[NAN, value, NAN]]).double()
        conditional = mixture.condition({1: value})
        highest = conditional.log_prob(pairs).max()
        filled = most_probable_completion(mixture, row, components="summed")
        found = conditional.log_prob(filled[0, [0, 2]])
        assert found >= highest - 1e-9  # the grid is coarser than the ascent
        assert found <= highest + step**2 * 20
        maximized = most_probable_completion(mixture, row)
        assert found >= conditional.log_prob(maximized[0, [0, 2]]) - 1e-12


def test_rows_come_back_as_they_came():
    mixture = random_product(3, 3, 2)
    x = some_rows(300, 3)
    x[::2, 1] = NAN
    filled = most_probable_completion(mixture, x)
    assert torch.equal(filled[~x.isnan()], x[~x.isnan()]) and not filled.isnan().any()
    frame = pd.DataFrame(x.numpy(), columns=["a", "b", "c"], index=range(10, 310))
    again = most_probable_completion(mixture.to(torch.float32), frame, components="summed")
    assert list(again.index) == list(frame.index) and list(again.columns) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: most_probable_completion(m.nodes, [[NAN]]), "mixture: expected a UGMMMixture"),
        (lambda m: most_probable_completion(m.expand((2,)), [[NAN]]), "mixture: expected one mixt"),
        (lambda m: most_probable_completion(m, [[NAN]]), r"x: expected shape \(n, 2\)"),
        (
            lambda m: most_probable_completion(m, [[NAN, 0.0]], components="drawn"),
            "components: expected one of 'maximized', 'summed', got 'drawn'",
        ),
        (lambda m: most_probable_completion(m, [[np.inf, 0]]), "x: expected finite values, or NaN"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(random_product(2, 2, 2))
