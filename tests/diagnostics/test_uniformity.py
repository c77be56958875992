"""The exact test of evenness, against simulation, and ArviZ's band."""

import numpy as np
import pytest

from pyro_ugmm.diagnostics.uniformity import even_band, even_p_value, even_points
from tests.diagnostics.arviz_words import IS_BEFORE_1

POINTS = even_points()


@pytest.mark.parametrize("n", [1, 10, 200])
def test_p_values_of_even_numbers_are_even(n):
    rng = np.random.default_rng(0)
    found = np.array([even_p_value(rng.random(n)) for _ in range(500)])
    for level in (0.01, 0.05, 0.3):  # of discrete numbers, at most
        share = (found <= level).mean()
        assert share <= level + 4 * (level / 500) ** 0.5
        assert n < 200 or share >= level - 4 * (level / 500) ** 0.5


@pytest.mark.parametrize("probability", [0.95, 0.999])
def test_the_band_holds_even_numbers_as_often_as_it_says(probability):
    n, count = 100, 4000
    low, high = even_band(n, probability)
    samples = np.random.default_rng(0).random((count, n, 1))
    functions = (samples <= POINTS).mean(1)
    inside = ((functions >= low - 1e-12) & (functions <= high + 1e-12)).all(1).mean()
    assert probability - 4 * ((1 - probability) / count) ** 0.5 <= inside
    assert inside <= probability + 0.5 * (1 - probability) + 1e-3


@pytest.mark.skipif(not IS_BEFORE_1, reason="ArviZ moved it")
def test_the_band_is_arviz_band():
    from arviz.stats.ecdf_utils import ecdf_confidence_band

    for n in (20, 200):
        ours, theirs = even_band(n, 0.95), ecdf_confidence_band(n, POINTS, POINTS, 0.95)
        assert np.abs(np.subtract(ours, theirs)).max() <= 1.01 / n  # a number more or less


def test_the_p_value_and_the_band_say_the_same():
    rng = np.random.default_rng(1)
    low, high = even_band(50, 0.9)
    for power in (1.0, 1.2, 1.4, 1.6):
        for values in rng.random((20, 50)) ** power:
            function = (values[:, None] <= POINTS).mean(0)
            is_inside = bool(((function >= low - 1e-12) & (function <= high + 1e-12)).all())
            assert (even_p_value(values) > 0.1) == is_inside


def test_what_is_not_even_is_seen():
    rng = np.random.default_rng(2)
    for values in (rng.beta(0.5, 0.5, 200), rng.beta(3, 3, 200), rng.random(200) ** 0.5):
        assert even_p_value(values) < 1e-4
