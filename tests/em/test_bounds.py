"""Bounds on distances: never above them; what they leave out is below rounding."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_ugmm.distributions import FullCovariance
from pyro_ugmm.distributions.components import Components
from pyro_ugmm.em.bounds import Place, moves_between, nothing_known
from pyro_ugmm.em.bounds_call import BoundedPairs, Parameters, evaluate_pairs
from pyro_ugmm.em.products import BELOW_ROUNDING
from pyro_ugmm.native import variants

pytestmark = pytest.mark.skipif(not variants(), reason="there is no library here")
every_variant = pytest.mark.parametrize("variant", variants())
FAR = 12.0


def drawn(n_components, n_features, dtype=torch.float64, log_spread=0.5):
    means = FAR * torch.randn(n_components, n_features).to(dtype)
    root = torch.randn(n_components, n_features, 2 * n_features).to(dtype)
    scale = (log_spread * torch.randn(n_components, 1, 1)).exp().to(dtype)
    weights = torch.randn(n_components).to(dtype).softmax(0)
    return Components(weights, means, FullCovariance(scale * root @ root.mT / n_features))


def moved(components, by):
    """Components that moved, turned and stretched by about so much."""
    n_components, n_features = components.means.shape
    turn = torch.eye(n_features) + by * torch.randn(n_components, n_features, n_features) / 3
    factor = turn.to(components.means) @ components.covariance.factor
    means = components.means + by * torch.randn(n_components, n_features).to(components.means)
    weights = (components.log_weights + by * torch.randn(n_components)).to(means).softmax(0)
    floor = 0.1 * torch.eye(n_features).to(means)
    return Components(weights, means, FullCovariance(factor @ factor.mT + floor))


def rows_of(components, n_rows):
    component = torch.arange(n_rows) % len(components.means)
    noise = torch.randn(n_rows, components.means.shape[1]).to(components.means)
    colored = components.covariance.factor[component] @ noise.unsqueeze(-1)
    return components.means[component] + colored.squeeze(-1)


def parameters_of(components):
    covariance, (_, n_features) = components.covariance, components.means.shape
    log_determinant = covariance.log_determinant(n_features)
    at_mean = -0.5 * (log_determinant + n_features * math.log(2 * math.pi))
    eps = torch.finfo(at_mean.dtype).eps
    return Parameters(
        components.means,
        covariance.inverse_factor.contiguous(),
        components.log_weights + at_mean,
        2 * (at_mean - math.log(BELOW_ROUNDING * eps)),
    )


def exactly(components, x):
    """Distances and joint log densities ``(K, N)``, in double precision."""
    deviations = x.double() - components.means.double().unsqueeze(1)
    whitener = components.covariance.inverse_factor.double()
    distances = (whitener @ deviations.mT).square().sum(1).sqrt()
    constant = parameters_of(components).constant.double()
    return distances, constant.unsqueeze(-1) - 0.5 * distances.square()


def assert_sound(components, x, pairs, joint):
    """What is known of pairs holds, and what was left out is below rounding."""
    slack = 1e-9 if x.dtype == torch.float64 else 1e-5
    distances, exact = exactly(components, x)
    assert (pairs.least <= distances * (1 + slack)).all()
    of_best = distances.gather(0, pairs.best.long())
    assert (pairs.most >= of_best * (1 - slack)).all()
    is_left_out = joint.isinf()
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-3}[x.dtype]
    torch.testing.assert_close(
        joint[~is_left_out].double(), exact[~is_left_out], rtol=tolerance, atol=tolerance
    )
    eps = torch.finfo(x.dtype).eps
    least = exact.logsumexp(0) + math.log(BELOW_ROUNDING * eps)
    least = least + components.log_weights.double().unsqueeze(-1)
    assert not (is_left_out & (exact > least + 1e-3)).any()
    return is_left_out.double().mean().item()


@every_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_components=st.integers(1, 12),
    n_features=st.integers(1, 9),
    n_rows=st.integers(1, 150),
    moves=st.lists(st.sampled_from([0.0, 1e-3, 0.03, 0.3, 3.0]), min_size=1, max_size=6),
)
def test_they_hold_however_components_move(
    variant, dtype, seed, n_components, n_features, n_rows, moves
):
    torch.manual_seed(seed)
    components = drawn(n_components, n_features, dtype)
    x = rows_of(components, n_rows)
    pairs, before = nothing_known(1, n_components, n_rows), Place.of(components)
    for by in [0.0, *moves]:
        components = moved(components, by) if by else components
        place = Place.of(components)
        joint = torch.empty(n_components, n_rows, dtype=dtype)
        parameters = parameters_of(components)
        evaluate_pairs(x, parameters, moves_between(before, place), pairs, 0, joint, variant)
        assert_sound(components, x, pairs, joint)
        before = place


@every_variant
def test_few_pairs_are_evaluated_where_little_moves(variant):
    """Block by block, of two mixtures at once."""
    both = [drawn(20, 6), drawn(20, 6)]
    x = rows_of(both[0], 700)
    pairs, before = nothing_known(2, 40, len(x)), None
    for n_before in range(3):
        both = [moved(one, 0.01) for one in both]
        joined = Components(
            torch.cat([one.weights for one in both]),
            torch.cat([one.means for one in both]),
            FullCovariance(torch.cat([one.covariance.values for one in both])),
        )
        place, joint, count = Place.of(joined), torch.empty(40, len(x)).double(), 0
        moves = moves_between(before or place, place)
        for at in range(0, len(x), 256):
            block = x[at : at + 256]
            out = torch.empty(40, len(block)).double()
            count += evaluate_pairs(block, parameters_of(joined), moves, pairs, at, out, variant)
            joint[:, at : at + 256] = out
        assert count == joint.isfinite().sum()
        left_out = []
        for s, one in enumerate(both):
            at, best = slice(20 * s, 20 * s + 20), pairs.best[s : s + 1] - 20 * s
            assert torch.equal(best[0], joint[at].argmax(0).int())
            mine = BoundedPairs(pairs.least[at], pairs.most[s : s + 1], best)
            left_out.append(assert_sound(one, x, mine, joint[at]))
        assert left_out == [0, 0] if n_before == 0 else min(left_out) > 0.5
        before = place


@every_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_threads_change_nothing(dtype, variant):
    components = drawn(15, 5, dtype)
    x, found = rows_of(components, 333), []
    n_before = torch.get_num_threads()
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            torch.manual_seed(1)
            pairs, joint = nothing_known(1, 15, len(x)), torch.empty(15, len(x), dtype=dtype)
            before = Place.of(components)
            for after in (components, moved(components, 0.1)):
                moves = moves_between(before, Place.of(after))
                count = evaluate_pairs(x, parameters_of(after), moves, pairs, 0, joint, variant)
                before = Place.of(after)
            found.append((count, joint, *vars(pairs).values()))
    finally:
        torch.set_num_threads(n_before)
    assert found[0][0] == found[1][0] < joint.numel()
    assert all(torch.equal(a, b) for a, b in zip(found[0][1:], found[1][1:], strict=True))


def test_a_component_of_no_weight_is_nobodys_best():
    components = drawn(3, 2)
    weights = torch.tensor([0.0, 0.5, 0.5]).double()
    components = Components(weights, components.means, components.covariance)
    x = rows_of(components, 60)
    pairs, joint, place = nothing_known(1, 3, 60), torch.empty(3, 60).double(), Place.of(components)
    for _ in range(3):
        evaluate_pairs(x, parameters_of(components), moves_between(place, place), pairs, 0, joint)
        assert (joint[0] == -math.inf).all() and (pairs.best > 0).all()
        torch.testing.assert_close(joint.logsumexp(0), exactly(components, x)[1].logsumexp(0))


def test_a_factor_that_cannot_be_compared_bounds_nothing():
    """Of singular values that rounding hides, the least is taken for zero."""
    narrow = FullCovariance(torch.diag(torch.tensor([1e-9, 1e9]).double())[None])
    other = FullCovariance(torch.diag(torch.tensor([1e9, 1e-9]).double())[None])
    one = torch.ones(1).double()
    places = [Place.of(Components(one, torch.zeros(1, 2).double(), c)) for c in (narrow, other)]
    assert moves_between(*places).nearer.item() <= 1e-9 * (1 + 1e-9)


def test_numbers_out_of_range_bound_nothing():
    place = Place(torch.zeros(2, 2).double(), torch.eye(2).double().repeat(2, 1, 1))
    whitener = place.whitener.clone()
    whitener[0, 1, 0] = math.inf
    moves = moves_between(place, Place(place.means, whitener))
    assert (moves.nearer[0], moves.farther[0]) == (0, math.inf)
    assert 0 < moves.nearer[1] < 1 < moves.farther[1] < 1.001


def test_rows_of_which_nothing_is_evaluated_keep_what_is_known():
    components = drawn(3, 2)
    after, x = moved(components, 1.0), rows_of(components, 60)
    pairs, joint = nothing_known(1, 3, 60), torch.empty(3, 60).double()
    places = Place.of(components), Place.of(after)
    evaluate_pairs(x, parameters_of(components), moves_between(*places[:1] * 2), pairs, 0, joint)
    nowhere = replace(parameters_of(after), constant=torch.full((3,), -math.inf).double())
    evaluate_pairs(x, nowhere, moves_between(*places), pairs, 0, joint)
    distances, _ = exactly(after, x)
    assert (joint == -math.inf).all()
    assert (pairs.most >= distances.gather(0, pairs.best.long())).all()
