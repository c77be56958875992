"""The location and scale of columns, in whatever range they are."""

import numpy as np
import pandas as pd
import pytest
import torch

from pyro_ugmm.standardization import center_and_spread

X = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("convert", [torch.Tensor.clone, torch.Tensor.numpy, pd.DataFrame])
def test_the_mean_and_standard_deviation(convert):
    rows = X.numpy() if convert is pd.DataFrame else X
    center, spread = center_and_spread(convert(rows))
    np.testing.assert_allclose(center, X.numpy().mean(0))
    np.testing.assert_allclose(spread, X.numpy().std(0, ddof=1))


def test_what_is_missing_is_left_out():
    x = X.clone()
    x[::3, 1] = torch.nan
    center, spread = center_and_spread(x, omit_missing=True)
    np.testing.assert_allclose(center, np.nanmean(x.numpy(), 0))
    np.testing.assert_allclose(spread, np.nanstd(x.numpy(), 0, ddof=1))


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_no_square_leaves_the_range(scale):
    center, spread = center_and_spread(scale * X)
    expected = center_and_spread(X)
    torch.testing.assert_close(center / scale, expected[0])
    torch.testing.assert_close(spread / scale, expected[1])


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_a_constant_column_has_a_spread_of_one(value):
    center, spread = center_and_spread(torch.full((7, 2), value))
    assert (spread == 1).all()
    torch.testing.assert_close(center, torch.full((2,), value))


@pytest.mark.parametrize(
    ("x", "omit", "message"),
    [
        (X[:1], False, r"x: expected shape \(n, K\) with at least 2 rows, got \(1, 3\)"),
        (X[0], False, r"x: expected shape \(n, K\)"),
        (X.where(X < 2, torch.inf), True, "x: expected finite values, or NaN, got inf in row"),
        (X.where(X < 2, torch.nan), False, "x: expected finite values, got nan in row"),
        (X * torch.tensor([1, torch.nan, 1]), True, "x: expected columns of which something"),
    ],
)
def test_what_has_no_center(x, omit, message):
    with pytest.raises(ValueError, match=message):
        center_and_spread(x, omit_missing=omit)
