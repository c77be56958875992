"""Numbers at the ends of their range."""

import math

import pandas as pd
import pytest
import torch

from pyro_ugmm.nn import UGMMLayer
from pyro_ugmm.standardization import center_and_spread
from tests.nn.networks import ROWS, best, network, posterior


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [1e-40, 1e-30, 1e-20, 1e-10, 0.01, 0.1])
@pytest.mark.parametrize("missing", ["error", "omit"])
def test_initialization_for_large_and_small_numbers(dtype, share, missing):
    x = ROWS.to(dtype) / ROWS.abs().max() * torch.finfo(dtype).max * share
    if missing == "omit":
        x[0, 0] = math.nan
    net = network(dtype=dtype, missing=missing)
    net.reset_parameters(x)
    assert all(value.isfinite().all() for value in net.state_dict().values())
    assert (net.layers[0].scale > 0).all() and net(x).isfinite().all()


def test_what_no_parameter_can_hold_is_refused_in_words():
    x = torch.tensor([[3.4e38, 1.0], [-3.4e38, 2.0]]).repeat(20, 1)
    for module in (network((2, 3)), UGMMLayer(2, 3)):
        before = [value.clone() for value in module.state_dict().values()]
        with pytest.raises(ValueError, match=r"x: expected columns whose scale .* column 0"):
            module.reset_parameters(x)
        assert all(map(torch.equal, before, module.state_dict().values()))


@pytest.mark.parametrize("factor", [1.0, 1e-15, 1e15, 1e30, 1e37, 1e-30])
@pytest.mark.parametrize("omit", [False, True])
def test_center_and_spread_in_any_unit(factor, omit):
    x = ROWS.clone()
    center, spread = center_and_spread(x.double() * factor, omit_missing=omit)
    found = center_and_spread(x * factor, omit_missing=omit)
    torch.testing.assert_close(found[0].double() / factor, center / factor, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found[1].double() / factor, spread / factor)


@pytest.mark.parametrize("normalization", ["none", "layer"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_states_too_far_for_any_score_are_refused_in_words(normalization, dtype):
    net = network((3, 6, 4, 2), dtype=dtype, normalization=normalization)
    far = torch.finfo(dtype).max ** 0.5
    x = torch.zeros(3, 3, dtype=dtype)
    x[1] = far * 10
    with pytest.raises(ValueError, match=r"x: expected values that leave the score.* in row 1"):
        posterior(net, x, {0: [far * 10, far * 20]})
    near = posterior(net, x, {0: [0.0, 1.0]})  # one input that is near is enough
    assert near.probabilities.isfinite().all()


@pytest.mark.parametrize("bound", [1e5, 1e15, 1e30, 3.4e38])
@pytest.mark.parametrize("asked", [(0,), (0, 1, 2)])
def test_the_best_inputs_are_found_within_any_bounds(bound, asked):
    net = network((3, 1))
    found = best(net, bounds=dict.fromkeys(asked, (-bound, bound)), n_starts=64, steps=200)
    nearer = best(net, bounds=dict.fromkeys(asked, (-500.0, 500.0)), n_starts=64, steps=200)
    assert found.rows.isfinite().all() and found.scores.isfinite().all()
    assert (found.scores > nearer.scores - 0.1).all()


def test_bounds_without_a_finite_score_are_refused_in_words():
    bounds = dict.fromkeys(range(3), (1e30, 2e30))
    with pytest.raises(ValueError, match="bounds: expected limits within which some score is fin"):
        best(network(), bounds=bounds)


def test_center_and_spread_of_a_data_frame():
    frame = pd.DataFrame({"length": [0.0, 2.0, 4.0], "constant": [5, 5, 5]})
    center, spread = center_and_spread(frame)
    assert center.tolist() == [2.0, 5.0] and spread.tolist() == [2.0, 1.0]
    assert center.dtype == torch.float64
    torch.testing.assert_close(center_and_spread(frame.to_numpy()), (center, spread))
    frame.loc[1, "length"] = math.nan
    with pytest.raises(ValueError, match=r"x: expected finite .* row 1, column 0 \('length'\)"):
        center_and_spread(frame)
    assert center_and_spread(frame, omit_missing=True)[0].tolist() == [2.0, 5.0]
    with pytest.raises(ValueError, match="x: expected numbers, got 'a' in column 'name'"):
        center_and_spread(frame.assign(name="a"))
