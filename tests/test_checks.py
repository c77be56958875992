"""Checks name the argument, what was expected and what came."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyro_ugmm.checks import (
    check,
    check_broadcast,
    check_choice,
    check_device,
    check_flag,
    check_floating,
    check_integer,
    check_number,
    check_precision,
    check_same_kind,
    check_seed,
    check_values,
)

ONE = torch.ones(2)


@pytest.mark.parametrize(
    ("check_it", "value", "expected"),
    [
        (check_integer, 3, 3),
        (check_integer, np.int32(3), 3),
        (check_integer, torch.tensor(3), 3),
        (check_seed, None, None),
        (check_seed, 2**63 - 1, 2**63 - 1),
        (check_flag, np.bool_(True), True),
        (check_device, "cpu", torch.device("cpu")),
        (check_device, None, None),
    ],
)
def test_what_is_kept_is_plain(check_it, value, expected):
    kept = check_it("name", value)
    assert kept == expected and type(kept) is type(expected)


def positive(name, value):
    return check_number(name, value, lambda number: number > 0, "a positive number")


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2.0), torch.tensor(2)])
def test_numbers_of_any_kind(value):
    assert positive("name", value) == 2.0 and type(positive("name", value)) is float


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check(False, "size", "more", 3), "size: expected more, got 3"),
        (lambda: check(False, "x", "rows", pd.DataFrame({"a": [1, 2]})), "rows, got DataFrame"),
        (lambda: check(False, "x", "rows", ["a"] * 1000), "rows, got list"),
        (lambda: check_choice("way", "no", ["a", "b"]), "way: expected one of 'a', 'b', got 'no'"),
        (lambda: check_choice("way", ["a"], ["a"]), r"way: expected one of 'a', got \['a'\]"),
        (lambda: check_integer("n", True), "n: expected a positive integer, got True"),
        (lambda: check_integer("n", 1.0), "n: expected a positive integer, got 1.0"),
        (lambda: check_integer("n", np.array([1])), r"n: expected a positive integer, got array"),
        (lambda: check_integer("n", 1, minimum=2), "n: expected an integer of at least 2, got 1"),
        (lambda: check_seed("seed", 2**63), "seed: expected an integer from 0 to"),
        (lambda: check_flag("progress", 1), "progress: expected True or False, got 1"),
        (lambda: check_device("device", "moon"), "device: expected a torch device .*got 'moon'"),
        (lambda: positive("rate", 0), "rate: expected a positive number, got 0"),
        (lambda: positive("rate", math.nan), "rate: expected a positive number, got nan"),
        (lambda: positive("rate", 10**400), "rate: expected a positive number, got int"),
        (lambda: positive("rate", torch.tensor(True)), "rate: expected a positive number"),
        (lambda: check_broadcast({"a": (2,), "b": (3,)}), "a, b: expected batch shapes that broad"),
        (
            lambda: check_broadcast({"a": (2, 1), "b": (3, 0)}),
            "a, b: expected batch shapes that broad",
        ),
        (lambda: check_floating("x", [1.0]), "x: expected a torch tensor, got list"),
        (lambda: check_floating("x", ONE.int()), "x: expected floating-point .*got torch.int32"),
        (lambda: check_precision("x", ONE.half()), "x: expected torch.float32 or .*torch.float16"),
        (
            lambda: check_same_kind({"a": ONE, "b": ONE.double()}),
            "b: expected torch.float32, as a has, got torch.float64",
        ),
        (
            lambda: check_values("x", torch.eye(2), torch.eye(2) > 0, "ones"),
            r"x: expected ones, got 0.0 at index \(0, 1\) \(2 of 4 values are invalid\)",
        ),
    ],
)
def test_errors_say_what_came(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_values_are_not_looked_at_where_a_graph_is_recorded():
    def checked(x):
        check_values("x", x, x > 0, "positive numbers")
        return x

    assert torch.equal(torch.func.vmap(checked)(ONE), ONE)


@given(st.lists(st.lists(st.sampled_from([0, 1, 2, 3]), max_size=3), min_size=1, max_size=3))
def test_shapes_broadcast_as_torchs_do(shapes):
    named = {f"of {i}": tuple(shape) for i, shape in enumerate(shapes)}
    try:
        torch.broadcast_shapes(*named.values())
    except RuntimeError:
        with pytest.raises(ValueError, match="of 0"):
            check_broadcast(named)
    else:
        check_broadcast(named)
