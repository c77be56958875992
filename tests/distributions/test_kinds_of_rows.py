"""Rows in whatever holds them: tensors, arrays, masked arrays, data frames and lists."""

import warnings

import numpy as np
import pandas
import pytest
import torch

from pyro_ugmm.distributions import GaussianMixture, SphericalCovariance, impute
from tests.distributions.mixtures import by_structure, random_mixture, rows

WHOLE = rows(12, 3).numpy().round(2)
HOLES = np.eye(12, 3, dtype=bool)
PARTIAL = np.where(HOLES, np.nan, WHOLE)
INDEX = [f"row {i}" for i in range(12)]


def _read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def _frame(x):
    return pandas.DataFrame(x, columns=list("abc"), index=INDEX)


KINDS = {
    "array": np.array,
    "list": lambda x: x.tolist(),
    "read-only": _read_only,
    "big-endian": lambda x: x.astype(">f8"),
    "objects": lambda x: x.astype(object),
    "reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "masked": lambda x: np.ma.masked_array(np.where(np.isnan(x), -9999, x), np.isnan(x)),
    "masked rows": lambda x: [*np.ma.masked_invalid(x)],
    "masked rows in tuples": lambda x: tuple(tuple(row) for row in np.ma.masked_invalid(x)),
    "frame": _frame,
    "nullable frame": lambda x: _frame(x).convert_dtypes(),
}
by_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
by_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def a_mixture(dtype=torch.float64, structure="full"):
    return random_mixture(structure, 3, 3, dtype=dtype, missing="marginalize")[0]


@by_kind
@by_dtype
@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("method", ["log_prob", "responsibilities", "predict", "aic", "bic"])
def test_every_kind_is_as_good_as_a_tensor(kind, dtype, partial, method):
    x, mixture = PARTIAL if partial else WHOLE, a_mixture(dtype)
    expected = getattr(mixture.to(torch.float64), method)(torch.from_numpy(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = getattr(mixture, method)(kind(x))
    torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected))


@by_kind
@by_dtype
def test_impute_takes_every_kind(kind, dtype):
    mixture = a_mixture(dtype)
    expected = impute(mixture.to(torch.float64), torch.from_numpy(PARTIAL))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = kind(PARTIAL)
        found = impute(mixture, x)
    if isinstance(x, pandas.DataFrame):
        assert list(found.columns) == list("abc") and list(found.index) == INDEX
        found = torch.tensor(found.to_numpy())
    torch.testing.assert_close(found, expected)
    assert (found.numpy()[~HOLES] == PARTIAL[~HOLES]).all()


def test_draws_of_a_frame_are_frames():
    mixture = a_mixture()
    expected = impute(mixture, torch.from_numpy(PARTIAL), num_samples=3, seed=1)
    draws = impute(mixture, _frame(PARTIAL), num_samples=3, seed=1)
    assert len(draws) == 3
    for draw, values in zip(draws, expected, strict=True):
        pandas.testing.assert_frame_equal(draw, _frame(values.numpy()))


@by_structure
@by_kind
def test_condition_takes_every_kind(structure, kind):
    mixture = a_mixture(torch.float32, structure)
    expected = mixture.to(torch.float64).condition({1: torch.from_numpy(WHOLE[:, 1])})
    x = kind(WHOLE)
    column = x["b"] if isinstance(x, pandas.DataFrame) else [row[1] for row in x]
    found = mixture.condition({1: column})
    torch.testing.assert_close(found.mean, expected.mean)


# -- digits ---------------------------------------------------------------------------------


def a_wide_one(dtype=torch.float32):
    means = torch.tensor([[1.6e9, 0.0]], dtype=dtype)
    covariance = SphericalCovariance(torch.ones(1, dtype=dtype))
    return GaussianMixture(torch.ones(1, dtype=dtype), means, covariance, missing="marginalize")


@pytest.mark.parametrize("make", [np.array, pandas.DataFrame, list])
def test_what_was_observed_stays(make):
    found = impute(a_wide_one(), make([[1600000001.0, np.nan]]))
    assert np.asarray(found)[0].tolist() == [1600000001.0, 0.0]


@pytest.mark.parametrize("value", [[1600000001.0], np.array([1600000001]), np.float64(1600000001)])
def test_arrays_are_computed_with_as_they_are(value):
    given = a_wide_one().marginal([1, 0]).condition({0: 0.0})
    x = np.reshape(value, (1, 1))
    assert given.log_prob(x).item() == pytest.approx(-0.5 - 0.5 * np.log(2 * np.pi))
    assert a_wide_one().condition({0: value}).means.dtype == torch.float64


@pytest.mark.parametrize("number", [1e40, -1e40, np.array(1e40), [1e40], 10**40])
def test_numbers_beyond_the_range_widen_the_mixture(number):
    mixture = a_mixture(torch.float32)
    found = mixture.condition({0: number, 2: 1.0})
    expected = mixture.to(torch.float64).condition({0: number, 2: 1.0})
    torch.testing.assert_close(found.mean.squeeze(), expected.mean.squeeze())
    assert found.mean.dtype == torch.float64 and found.mean.isfinite().all()


@pytest.mark.parametrize("number", [2, 2.5, True, 0])
def test_plain_numbers_keep_the_dtype(number):
    assert a_mixture(torch.float32).condition({0: number}).means.dtype == torch.float32


@by_dtype
def test_arrays_keep_their_precision(dtype):
    for array_dtype, x in ((np.float32, WHOLE.astype(np.float32)), (np.float64, WHOLE)):
        expected = torch.promote_types(dtype, torch.from_numpy(x).dtype)
        assert a_mixture(dtype).log_prob(x).dtype == expected, array_dtype
        assert impute(a_mixture(dtype), x).dtype == expected


# -- words ----------------------------------------------------------------------------------


def _with(value, dtype=object):
    frame = _frame(WHOLE).astype(dtype)
    frame.iloc[4, 1] = value
    return frame


@pytest.mark.parametrize("method", ["log_prob", "responsibilities", "predict", "aic", "bic"])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (_with(np.inf, float), r"value: expected finite.*got inf in row 4, column 1 \('b'\)"),
        (_with(np.nan, float), r"value: expected finite.*got nan in row 4, column 1 \('b'\)"),
        (_with("high"), "value: expected numbers, got 'high' in column 'b'"),
        (_frame(WHOLE).iloc[:, :2], r"value: expected .*features.*got shape \(12, 2\)"),
        (np.ma.masked_less(WHOLE, 0), "value: expected finite.*got nan in row"),
        (WHOLE.astype(complex), "value: expected numbers, got complex128"),
        (10**400, "value: expected numbers"),
        (torch.from_numpy(WHOLE).float(), "value: expected torch.float64, as means has"),
        (torch.from_numpy(WHOLE).long(), "value: expected floating-point"),
        (torch.from_numpy(WHOLE).to_sparse(), "value: expected a dense tensor"),
    ],
)
def test_bad_rows(method, x, message):
    mixture = random_mixture("full", 3, 3)[0]
    with pytest.raises(ValueError, match=message):
        getattr(mixture, method)(x)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {0: torch.zeros(2).double()},
            r"values\[0\]: expected torch.float32, as means has, got torch.float64",
        ),
        ({1: torch.zeros(2).half()}, r"values\[1\]: expected torch.float32 or torch.float64"),
        ({1: torch.tensor(1)}, r"values\[1\]: expected floating-point"),
        ({1: "a"}, r"values\[1\]: expected numbers"),
        ({1: None}, "values: expected finite values, got nan"),
        ({1: 10**400}, r"values\[1\]: expected numbers"),
        ({1: [1.0, np.inf]}, "values: expected finite values, got inf at index"),
        ({1: np.ma.masked_equal([1.0, 2.0], 2)}, "values: expected finite values, got nan"),
        ({1: torch.zeros(2, device="meta")}, r"values\[1\]: expected device cpu"),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(ValueError, match=message):
        a_mixture(torch.float32).condition(values)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            _with(np.inf, float),
            r"x: expected finite values, or NaN, got inf in row 4, column 1 .'b'",
        ),
        (_with("high"), "x: expected numbers, got 'high' in column 'b'"),
        (WHOLE[0], r"x: expected shape \(n, 3\), got \(3,\)"),
        (torch.from_numpy(WHOLE).float(), "x: expected torch.float64, as the mixture has"),
        (torch.from_numpy(WHOLE).long(), "x: expected floating-point"),
    ],
)
def test_bad_rows_to_impute(x, message):
    with pytest.raises(ValueError, match=message):
        impute(a_mixture(), x)
