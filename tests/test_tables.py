"""Rows of any kind as tensors, and what is said of those that are none."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

from pyro_ugmm.missing_values import mixture_rule, network_rule
from pyro_ugmm.tables import Table, as_labels, as_table, as_vector

NAN = float("nan")
ROWS = [[1.0, 2.0], [3.0, NAN]]
FRAME = pd.DataFrame({"a": [1, 3], "b": pd.array([2, None], dtype="Int64")})


@pytest.mark.parametrize(
    "x",
    [
        ROWS,
        np.array(ROWS),
        np.array(ROWS)[::-1][::-1],
        np.array(ROWS).astype(">f8"),
        np.ma.masked_array([[1, 2], [3, 4]], [[False, False], [False, True]]),
        np.array([[Decimal(1), 2], [3, None]], dtype=object),
        FRAME,
    ],
)
def test_rows_of_any_kind_are_the_same_numbers(x):
    table = as_table("x", x)
    torch.testing.assert_close(table.values, torch.tensor(ROWS).double(), equal_nan=True)
    assert not table.is_tensor and as_table("y", table) is table


def test_precision_is_kept_where_torch_has_it():
    kinds = {np.float16: torch.float32, np.float32: torch.float32, np.int8: torch.float64}
    for given, expected in kinds.items():
        assert as_table("x", np.ones((2, 2), given)).values.dtype == expected
    tensor = torch.ones(2, 2)
    assert as_table("x", tensor).values is tensor


def test_a_frame_comes_back_as_a_frame():
    table = as_table("x", FRAME)
    assert table.columns == table.labels == ("a", "b") and table.column(1) == "1 ('b')"
    assert as_table("x", pd.DataFrame(np.ones((2, 2)))).labels is None
    pd.testing.assert_frame_equal(table.restored(torch.tensor(ROWS).double()), FRAME.astype(float))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(2, 2).int(), "x: expected floating-point numbers .*got torch.int32"),
        (torch.ones(2, 2).to_sparse(), "x: expected a dense tensor"),
        ([[1.0], [1.0, 2.0]], "x: expected rows of numbers"),
        ([["a"]], "x: expected numbers, got <U1"),
        (pd.DataFrame({"a": ["b"]}), "x: expected numbers, got .*in column 'a'"),
        (
            np.array([[2**63 - 1]]),
            "x: expected numbers that float64 can hold, got 9223372036854775",
        ),
        (pd.DataFrame(), "x: expected a data frame with columns"),
    ],
)
def test_what_are_no_rows(x, message):
    with pytest.raises(ValueError, match=message):
        as_table("x", x)


def test_a_rule_says_what_is_finite():
    table = as_table("x", FRAME)
    table.check_finite(mixture_rule("marginalize"))
    for rule, option in ((mixture_rule, "marginalize"), (network_rule, "omit")):
        message = rf"x: expected finite values \(missing='{option}' takes NaN\), got nan in row 1, "
        with pytest.raises(ValueError, match=message + r"column 1 \('b'\)"):
            table.check_finite(rule("error"))
    with pytest.raises(ValueError, match=r"x: expected finite values, got nan in row 1"):
        table.check_finite()
    nothing = as_table("x", [[NAN, NAN], [1.0, NAN]])
    with pytest.raises(ValueError, match="or NaN in rows of which something was observed"):
        nothing.check_finite(mixture_rule("marginalize"))
    with pytest.raises(ValueError, match="got none but NaN in column 1"):
        nothing.check_observed()


def test_a_precision_that_cannot_tell_rows_apart_is_refused():
    close = as_table("x", np.array([[1e9], [1e9 + 1], [1e9 + 2]]))
    with pytest.raises(ValueError, match=r"x: expected values that torch.float32 can hold"):
        close.like("the model", torch.ones(1))
    tensor = Table("x", torch.ones(2, 2).double(), is_tensor=True)
    with pytest.raises(ValueError, match=r"x: expected torch.float32, as the model has"):
        tensor.like("the model", torch.ones(1))


@pytest.mark.parametrize("value", [[1, 2], np.array([1, 2], "u8"), pd.Series([1, 2], dtype="Int8")])
def test_vectors_and_labels(value):
    assert as_vector("y", value).tolist() == as_labels("y", value).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (pd.Series([1, None], dtype=object), "y: expected no missing entries, got null"),
        (np.ma.masked_array([1, 2], [True, False]), "y: expected no masked entries, got 1 masked"),
        (["a", "b"], "y: expected integer labels .*got 'a'"),
        ([1.0, NAN], r"y: expected no missing entries, got NaN at index \(1,\)"),
        (torch.tensor([1j]), "y: expected a tensor or an array of numbers, got torch.complex64"),
        (np.array([2**64 - 1], "u8"), "y: expected integers that int64 can hold"),
    ],
)
def test_what_are_no_labels(value, message):
    with pytest.raises(ValueError, match=message):
        as_labels("y", value)
