"""What enters layers, networks and queries: numbers, rows and tensors of every kind."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from pyro_ugmm.models import UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.nn.kernels import force_backend
from tests.nn.networks import ROWS, best, network, posterior

# Numbers: what is kept is plain.


@pytest.mark.parametrize("number", [np.int64, np.int32, torch.tensor, np.array])
@pytest.mark.parametrize("whole", [list, tuple, np.array, torch.tensor])
def test_sizes_of_any_kind_become_plain_numbers(number, whole):
    for sizes in ([number(2), 4, number(3)], whole([2, 4, 3])):
        net = UGMMNetwork(sizes)
        assert net.sizes == (2, 4, 3) and {type(size) for size in net.sizes} == {int}
        assert {type(layer.in_features) for layer in net.layers} == {int}
        json.dumps(UGMMClassifier(net).arguments())


@pytest.mark.parametrize("number", [np.float64, np.float32, torch.tensor, np.array])
def test_other_numbers_become_plain_ones(number):
    for dropout in (number(0.25), [number(0.25), 0.25], np.array([0.25, 0.25])):
        net = UGMMNetwork([2, 4, 3], dropout=dropout, min_scale=number(0.5))
        for layer in net.layers:
            assert (layer.dropout, layer.min_scale) == (0.25, 0.5)
            assert type(layer.dropout) is type(layer.min_scale) is float
    net = UGMMNetwork([2, 4, 3], missing=np.str_("omit"), normalization=np.str_("layer"))
    assert type(net.missing) is type(net.normalization) is str
    json.dumps(UGMMClassifier(net).arguments())


@pytest.mark.parametrize("number", [np.int64, torch.tensor, np.array])
def test_queries_take_numbers_of_any_kind(number):
    net = network()
    expected = best(net, output=1, n_starts=4, steps=5, seed=1).rows
    options = {"output": number(1), "n_starts": number(4), "steps": number(5), "seed": number(1)}
    torch.testing.assert_close(best(net, **options).rows, expected)
    asked = 1 if number is np.array else number(1)  # which is no key
    found = posterior(net, states={asked: [0, 1]}, output=number(1), max_states=number(2))
    assert found.inputs == (1,) and type(found.inputs[0]) is int
    torch.testing.assert_close(found.marginal(asked), found.probabilities)


# Rows: of any kind, at every entry but the layers' own.


def entries(x):
    """What each entry makes of rows: tensors, from one random state."""
    net = network(missing="omit")
    torch.manual_seed(1)
    net.layers[0].reset_parameters(x)
    yield net.layers[0].loc
    torch.manual_seed(1)
    net.reset_parameters(x)
    yield net.layers[1].loc
    net.measure_inputs(x)
    yield net.layers[1].input_center
    yield posterior(net, x).probabilities
    found = best(net, x)
    yield torch.as_tensor(np.asarray(found.rows))
    yield found.scores


NAMES = ["width", "height", "depth"]
GAPS = ROWS.clone()
GAPS[2, 1] = math.nan
FRAME = pd.DataFrame(GAPS.double().numpy(), columns=NAMES, index=range(5, 17))
KINDS = {
    "array": GAPS.numpy(),
    "float64": GAPS.double().numpy(),
    "masked": np.ma.masked_equal(torch.where(GAPS.isnan(), -9999.0, GAPS).numpy(), -9999.0),
    "lists": GAPS.tolist(),
    "frame": FRAME,
    "nullable": FRAME.convert_dtypes(),
    "read only": np.broadcast_to(GAPS.numpy(), (1, 12, 3))[0],
    "reversed": GAPS.numpy()[::-1][::-1],
    "big endian": GAPS.numpy().astype(">f4"),
    "with a graph": GAPS.clone().requires_grad_(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_any_kind_are_the_same_rows(kind):
    for found, expected in zip(entries(KINDS[kind]), entries(GAPS), strict=True):
        torch.testing.assert_close(found, expected, equal_nan=True)


def test_a_frame_comes_back_for_a_frame():
    found = best(network(missing="omit"), FRAME).rows
    assert list(found.columns) == NAMES and found.index.equals(FRAME.index)
    assert found["height"].isna().sum() == 1
    assert not isinstance(best(network(), ROWS.numpy()).rows, pd.DataFrame)


def test_integers_are_rows_too():
    whole = np.arange(12).reshape(4, 3)
    rows = torch.tensor(whole, dtype=torch.float32)
    torch.testing.assert_close(
        posterior(network(), whole).probabilities, posterior(network(), rows).probabilities
    )


def with_hole(frame):
    return frame.assign(depth=[None] * 12)


@pytest.mark.parametrize("module", [lambda net: net, lambda net: net.layers[0]])
@pytest.mark.parametrize(
    ("missing", "x", "message"),
    [
        ("error", FRAME, r"x: .*missing='omit' takes NaN.* in row 2, column 1 \('height'\)"),
        ("omit", with_hole(FRAME), r"observed, got none but NaN in column 2 \('depth'\)"),
        ("omit", FRAME.replace(np.nan, np.inf), r"got inf in row 2, column 1 \('height'\)"),
        ("error", FRAME[NAMES[:2]], r"x: expected shape \(n, 3\) with at least 2"),
        ("error", FRAME.astype(str), "x: expected numbers"),
        ("error", [[1.0, 2.0], [1.0]], "x: expected rows of numbers"),
        ("error", ROWS.double(), "x: expected torch.float32"),
        ("error", ROWS.long(), "x: expected floating-point"),
        ("error", FRAME.fillna(0.0) + 1e9, r"that torch.float32 can hold.*0 \('width'\)"),
    ],
)
def test_bad_rows_are_named(module, missing, x, message):
    net = network(missing=missing)
    before = [value.clone() for value in net.state_dict().values()]
    with pytest.raises(ValueError, match=message):
        module(net).reset_parameters(x)
    assert all(map(torch.equal, before, net.state_dict().values()))


@pytest.mark.parametrize("ask", [posterior, best])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (FRAME, r"x: .*but for what is asked for.*row 2, column 1 \('height'\)"),
        (FRAME[NAMES[:2]], r"x: expected shape \(n, 3\) with at least one row, got \(12, 2\)"),
        (ROWS[:0], "x: expected shape"),
        (ROWS[0], "x: expected shape"),
        (ROWS.double(), "x: expected torch.float32, as the network has"),
        (None, "x: expected"),
        ("rows", "x: expected numbers"),
    ],
)
def test_bad_rows_of_queries_are_named(ask, x, message):
    with pytest.raises(ValueError, match=message):
        ask(network(), x)


VALUES = {
    "none": None,
    "a gap": [None, 1.0],
    "words": "ab",
    "nested": [0.0, [1.0]],
    "a number": 0.5,
    "complex": [1j, 2j],
    "a set": {0.0, 1.0},
    "masked": np.ma.masked_equal([0.0, 1.0], 1.0),
    "nothing": [],
    "not finite": [0.0, math.inf],
    "beyond float32": [0.0, 1e39],
    "alike in float32": [16777216.0, 16777217.0],
}


@pytest.mark.parametrize("values", VALUES)
def test_bad_states_and_bounds_are_refused_in_words(values):
    with pytest.raises(ValueError, match="states: expected a list of finite values for input 1"):
        posterior(network(), states={1: VALUES[values]})
    with pytest.raises(ValueError, match=r"bounds: expected \(low, high\) by input"):
        best(network(), bounds={1: VALUES[values]})


@pytest.mark.parametrize("asked", [True, 3, -1, "a", None, 1.5, (0, 1)])
def test_bad_inputs_are_refused_in_words(asked):
    with pytest.raises(ValueError, match="states: expected different inputs of 0 to 2"):
        posterior(network(), states={asked: [0.0, 1.0]})
    with pytest.raises(ValueError, match="bounds: expected different inputs of 0 to 2"):
        best(network(), bounds={asked: [0.0, 1.0]})
    with pytest.raises(ValueError, match="index: expected one of the inputs"):
        posterior(network()).marginal(asked)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *[
            (lambda sizes=sizes: UGMMNetwork(sizes), "sizes: expected a sequence of integers")
            for sizes in ("23", b"23", 5, None, iter([2, 3]), {2: 3, 4: 5}, np.ones((2, 2)))
        ],
        *[
            (lambda size=size: UGMMNetwork([2, size]), "sizes: expected a positive integer")
            for size in (True, 4.0, None, "3", 0, np.float64(3), math.nan)
        ],
        (lambda: UGMMNetwork([2]), "sizes: expected at least two sizes"),
        (lambda: UGMMNetwork([2, 3], dropout="ab"), "dropout: expected a probability"),
        (lambda: UGMMNetwork([2, 3], dropout=np.ones(2)), "dropout: expected one number, or 1"),
        *[
            (lambda bad=bad: UGMMNetwork([2, 3], normalization=bad), "normalization: expected one")
            for bad in ([], {}, None, 1, np.array(["none", "layer"]))
        ],
        *[
            (lambda bad=bad: UGMMNetwork([2, 3], missing=bad), "missing: expected one of")
            for bad in ([], {}, None, 1, np.array(["error", "omit"]))
        ],
        *[
            (lambda bad=bad: best(network(), seed=bad), "seed: expected an integer")
            for bad in (True, 1.0, "1", -1, 2**70)
        ],
        *[
            (lambda bad=bad, ask=ask: ask(network(), output=bad), "output: expected one of 0 to 1")
            for bad in (True, 1.0, "1", None, 2, -1)
            for ask in (posterior, best)
        ],
        (lambda: best(network(), steps=2.0), "steps: expected a positive integer"),
        (lambda: best(network(), n_starts=True), "n_starts: expected a positive integer"),
        (lambda: posterior(network(), max_states=1.5), "max_states: expected a positive integer"),
        (lambda: force_backend(["tiled"]).__enter__(), "name: expected one of"),
    ],
)
def test_other_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
