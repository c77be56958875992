"""The algorithm, against Gaussians in closed form and mixtures by quadrature."""

import math

import pytest
import torch

from pyro_ugmm.sampling import smc
from pyro_ugmm.sampling.path import Path

from .gaussians import conjugate


def sampled(path, start, n_populations=4, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    state = smc.init(path, start, n_populations)
    while state.temperature < 1:
        state = smc.step(path, state, generator=generator, **options)
    return state


@pytest.mark.parametrize("n_features", [1, 3, 12])
def test_a_conjugate_posterior_and_its_evidence(n_features):
    case = conjugate(n_features)
    start = torch.randn(2048, n_features, dtype=torch.float64)
    state = sampled(case.path(), start, n_populations=8)
    estimates = state.log_evidence
    error = float(estimates.std()) / 8**0.5
    assert float(estimates.logsumexp(0)) - math.log(8) == pytest.approx(
        case.log_evidence, abs=max(6 * error, 0.15)
    )
    position, deviation = state.particles.position, case.covariance.diagonal().sqrt()
    assert ((position.mean(0) - case.mean) / deviation).abs().max() < 0.25
    assert ((position.std(0) / deviation).log()).abs().max() < 0.2
    assert state.rungs[-1].temperature == 1 and all(rung.forgotten for rung in state.rungs)


def test_each_particle_leaves_several_draws():
    """Which are right, and are worth more than one, as far as they depend on each other."""
    case = conjugate(3)
    start = torch.randn(256, 3, dtype=torch.float64)
    errors = {}
    for n_draws in (1, 32):
        states = [sampled(case.path(), start, seed=i, draws_per_particle=n_draws) for i in range(8)]
        draws = torch.stack([state.draws.flatten(0, 1) for state in states])
        assert draws.shape == (8, 256 * n_draws, 3)
        deviation = case.covariance.diagonal().sqrt()
        errors[n_draws] = float(((draws.mean(1) - case.mean) / deviation).square().mean())
        ratio = draws.flatten(0, 1).std(0) / deviation
        assert ratio.log().abs().max() < 0.1
    assert errors[32] < 0.5 * errors[1]
    final = states[0]
    assert torch.equal(final.draws[:, -1], final.particles.position)
    assert final.rungs[-1].n_moves >= 32 + 4


def test_populations_are_estimates_of_their_own():
    """Means of the evidence's exponential are unbiased; small populations scatter more."""
    case = conjugate(3)
    spread = {}
    for size in (16, 256):
        start = torch.randn(20 * size, 3, dtype=torch.float64)
        state = sampled(case.path(), start, n_populations=20)
        assert state.log_evidence.shape == (20,)
        assert len(state.log_evidence.unique()) == 20
        spread[size] = float(state.log_evidence.std())
    assert spread[256] < spread[16]


def test_two_modes_keep_their_shares():
    r"""A likelihood with a mode of weight 0.8 and one of 0.2, too far apart for moves."""

    def densities(u):
        u = u.squeeze(-1)
        reference = -0.5 * (u / 5) ** 2 - math.log(5) - 0.5 * math.log(2 * math.pi)
        modes = [math.log(w) - 0.5 * ((u - m) / 0.1) ** 2 for w, m in ((0.8, -4.0), (0.2, 4.0))]
        return reference, torch.logsumexp(torch.stack(modes), 0)

    grid = torch.linspace(-30, 30, 600_001, dtype=torch.float64).unsqueeze(-1)
    exact = float(sum(densities(grid)).logsumexp(0)) + math.log(1e-4)
    state = sampled(Path(densities), 5 * torch.randn(4096, 1, dtype=torch.float64), 8)
    estimate = float(state.log_evidence.logsumexp(0)) - math.log(8)
    assert estimate == pytest.approx(exact, abs=0.2)
    share = (state.particles.position < 0).double().reshape(8, -1).mean(-1)
    assert float(share.mean()) == pytest.approx(0.8, abs=0.1)
    assert all(rung.forgotten for rung in state.rungs)


def test_a_start_that_is_right_takes_one_temperature():
    case = conjugate(4)
    posterior = torch.distributions.MultivariateNormal(case.mean, case.covariance)

    def densities(u):
        reference, increment = case.path().densities(u)
        return posterior.log_prob(u), reference + increment - posterior.log_prob(u)

    state = sampled(Path(densities), posterior.sample((512,)))
    assert len(state.rungs) == 1
    exact = torch.full((4,), case.log_evidence, dtype=torch.float64)
    torch.testing.assert_close(state.log_evidence, exact, atol=1e-8, rtol=0)


def test_blocks_change_nothing():
    case = conjugate(3)
    start = torch.randn(64, 3, dtype=torch.float64)
    whole, blocks = (sampled(case.path(block=size), start) for size in (64, 10))
    torch.testing.assert_close(whole.particles.position, blocks.particles.position)


def test_a_seed_is_all_the_chance():
    case = conjugate(3)
    start = torch.randn(64, 3, dtype=torch.float64)
    same = [sampled(case.path(), start, seed=seed).particles.position for seed in (1, 1, 2)]
    assert torch.equal(same[0], same[1]) and not torch.equal(same[0], same[2])
