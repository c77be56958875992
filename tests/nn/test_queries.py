"""Queries of a network's inputs, against brute force."""

import itertools
import math

import numpy as np
import pytest
import torch

from pyro_ugmm.models import UGMMDensity
from pyro_ugmm.nn import UGMMNetwork, most_probable_inputs, state_posterior


def network(sizes=(4, 8, 2), seed=0, **kwargs):
    torch.manual_seed(seed)
    return UGMMNetwork(sizes, dtype=torch.float64, **kwargs)


def rows(n=6, width=4):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(1)).double()


STATES = {2: [0.0, 1.0, 2.0], 0: [-1.0, 1.0]}


@pytest.mark.parametrize("output", [0, 1])
def test_state_posterior_is_that_of_brute_force(output, monkeypatch):
    monkeypatch.setattr("pyro_ugmm.nn.queries.states.BLOCK_ROWS", 7)
    net, x = network(dropout=0.5), rows()
    found = state_posterior(net, x, STATES, output=output)
    assert net.training  # left as it was
    net.eval()
    for row, probabilities in zip(x, found.probabilities, strict=True):
        expected = torch.empty(3, 2).double()
        for i, j in itertools.product(range(3), range(2)):
            one = row.clone()
            one[2], one[0] = STATES[2][i], STATES[0][j]
            expected[i, j] = net(one)[output].exp()
        torch.testing.assert_close(probabilities, expected / expected.sum())
    torch.testing.assert_close(found.marginal(2), found.probabilities.sum(2))
    torch.testing.assert_close(found.marginal(0), found.probabilities.sum(1))
    for row, best, p in zip(x, found.most_probable, found.probabilities, strict=True):
        i, j = divmod(int(p.argmax()), 2)
        assert best.tolist() == [STATES[2][i], STATES[0][j]]
        assert row.isfinite().all()


def test_what_is_asked_for_does_not_count():
    x = rows()
    expected = state_posterior(network(), x, STATES).probabilities
    x[:, [0, 2]] = math.nan
    torch.testing.assert_close(state_posterior(network(), x, STATES).probabilities, expected)
    x[0, 1] = math.nan
    omitting = network(missing="omit")
    assert state_posterior(omitting, x, STATES).probabilities.isfinite().all()
    one = state_posterior(network(), rows(), {1: torch.tensor([0, 1])})
    torch.testing.assert_close(one.marginal(1), one.probabilities)


def test_most_probable_inputs_are_those_of_a_grid():
    net, x = network((3, 6, 1), seed=3), rows(4, 3)
    found = most_probable_inputs(net, x, {0: (-2.0, 2.0), 2: (-1.0, 3.0)}, seed=0)
    axis = torch.linspace(0, 1, 201).double()
    grid = torch.cartesian_prod(4 * axis - 2, 4 * axis - 1)
    for row, best, score in zip(x, found.rows, found.scores, strict=True):
        candidates = row.expand(len(grid), -1).clone()
        candidates[:, [0, 2]] = grid
        highest = net(candidates)[:, 0].max()
        assert score >= highest - 1e-4
        torch.testing.assert_close(net(best)[0], score)
        assert best[1] == row[1]
        assert (best[[0, 2]] >= torch.tensor([-2.0, -1.0])).all()
    assert ((found.agreement > 0) & (found.agreement <= 1)).all()
    again = most_probable_inputs(net, x, {0: (-2.0, 2.0), 2: (-1.0, 3.0)}, seed=0)
    torch.testing.assert_close(again.rows, found.rows)


def test_the_best_value_may_lie_on_a_bound():
    net = UGMMNetwork([1, 1], dtype=torch.float64)
    net.layers[0].loc = torch.tensor([[5.0]]).double()
    found = most_probable_inputs(net, torch.zeros(2, 1).double(), {0: (-1.0, 2.0)}, n_starts=4)
    torch.testing.assert_close(found.rows, torch.full((2, 1), 2.0).double())
    torch.testing.assert_close(found.agreement, torch.ones(2).double())


def test_numpys_integers_tensors_and_no_grad_are_as_good():
    net, x = network(), rows()
    expected = most_probable_inputs(net, x, {1: (0.0, 1.0)}, output=1, seed=0, steps=20)
    with torch.no_grad():
        bounds = {np.int64(1): torch.tensor([0.0, 1.0])}
        found = most_probable_inputs(net, x, bounds, output=np.int64(1), seed=0, steps=20)
    torch.testing.assert_close(found.rows, expected.rows)
    assert state_posterior(net, x, STATES, output=np.int64(1)).inputs == tuple(STATES)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: state_posterior(UGMMDensity(network((3, 1)), 2), rows(), STATES),
            "network: expected a UGMMNetwork, got UGMMDensity",
        ),
        (
            lambda: most_probable_inputs(UGMMDensity(network((3, 1)), 2), rows(), {0: (0.0, 1.0)}),
            "network: expected a UGMMNetwork, got UGMMDensity",
        ),
        (lambda: most_probable_inputs(network(), rows(), {0: 1.0}), "bounds: expected .low, high"),
        (
            lambda: state_posterior(network(), rows(), {0: range(400), 1: range(300)}),
            "states: expected at most max_states=100000 joint states, got 400 x 300 = 120000",
        ),
        (lambda: state_posterior(network(), rows(), {}), "states: expected values by input"),
        (lambda: state_posterior(network(), rows(), {4: [0.0]}), "states: expected different in"),
        (lambda: state_posterior(network(), rows(), {0: []}), "states: expected a list of finite"),
        (lambda: state_posterior(network(), rows(), {0: [math.nan]}), "states: expected a list"),
        (lambda: state_posterior(network(), rows()[:, :3], STATES), "x: expected shape"),
        (lambda: state_posterior(network(), rows() / 0, STATES), "x: expected finite values, but"),
        (lambda: state_posterior(network(), rows(), STATES, output=2), "output: expected one of"),
        (lambda: most_probable_inputs(network(), rows(), {0: (1.0, 1.0)}), "low < high"),
        (lambda: most_probable_inputs(network(), rows(), {}), "bounds: expected"),
        (
            lambda: most_probable_inputs(network(), rows(), {0: (0.0, 1.0)}, n_starts=0),
            "n_starts: expected a positive integer",
        ),
        (
            lambda: state_posterior(network(), rows(), STATES).marginal(1),
            r"index: expected one of the inputs \(2, 0\), got 1",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
