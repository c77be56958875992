"""Temperatures, resampling, moves and what is learned of them, one by one."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pyro_ugmm.sampling.forgetting import Displacements
from pyro_ugmm.sampling.hamiltonian import move
from pyro_ugmm.sampling.path import Particles
from pyro_ugmm.sampling.resampling import systematic
from pyro_ugmm.sampling.tempering import effective_share, log_mean_weights, next_temperature
from pyro_ugmm.sampling.trail import Trail
from pyro_ugmm.sampling.tuning import Tuning, scales

from .gaussians import conjugate


@given(st.integers(1, 5), st.integers(1, 40), st.floats(0.0, 30.0), st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_systematic_rounds_down_or_up(n_populations, n_particles, spread, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (n_populations, n_particles)
    log_weights = spread * torch.randn(shape, generator=generator, dtype=torch.float64)
    found = systematic(log_weights, generator)
    assert found.shape == shape
    expected = n_particles * log_weights.softmax(-1)
    counts = torch.nn.functional.one_hot(found, n_particles).sum(1)
    assert (counts >= (expected - 1e-9).floor()).all() and (
        counts <= (expected + 1e-9).ceil()
    ).all()


def test_systematic_is_unbiased():
    log_weights = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log().expand(20_000, 4)
    counts = torch.nn.functional.one_hot(systematic(log_weights), 4).sum(1).double().mean(0)
    assert (counts - torch.tensor([0.4, 0.8, 1.2, 1.6])).abs().max() < 0.02


def test_weights_of_zero_have_no_descendants():
    log_weights = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0]])
    assert systematic(log_weights).tolist() == [[1, 1, 3, 3]]


@given(st.floats(0.0, 50.0), st.floats(0.1, 0.9), st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_the_next_temperature_leaves_the_share(spread, share, seed):
    generator = torch.Generator().manual_seed(seed)
    increments = spread * torch.randn(3, 50, generator=generator, dtype=torch.float64)
    found = next_temperature(increments, 0.25, share)
    assert 0.25 < found <= 1
    left = float(effective_share((found - 0.25) * increments).mean())
    assert left >= share - 1e-6
    assert found == 1 or left == pytest.approx(share, abs=1e-6)


def test_the_mean_weight():
    increments = torch.tensor([[0.0, math.log(3.0)]])
    assert float(log_mean_weights(increments, 1.0)) == pytest.approx(math.log(2.0))
    assert float(effective_share(increments)) == pytest.approx(16 / 20)


@pytest.mark.parametrize("n_steps", [1, 5])
def test_moves_leave_the_density_as_it_is(n_steps):
    """Exact draws stay exact draws, however coarse the steps are."""
    case = conjugate(2, widest=1.0)
    path = case.path()
    exact = torch.distributions.MultivariateNormal(case.mean, case.covariance)
    particles = path.at(exact.sample((20_000,)), 1.0)
    scale = case.covariance.diagonal().sqrt()
    for _ in range(3):
        made = move(path, particles, 1.0, scale, 1.2, n_steps)
        particles = made.particles
    assert 0.3 < float(made.acceptance.mean()) < 0.995
    white = torch.linalg.solve_triangular(
        exact.scale_tril, (particles.position - case.mean).T, upper=False
    )
    for direction in white:
        assert stats.kstest(direction.numpy(), "norm").pvalue > 1e-4
    assert abs(float(torch.corrcoef(white)[0, 1])) < 0.04


def test_a_density_that_is_no_number_is_never_entered():
    case = conjugate(1)

    def densities(u):
        reference, increment = case.path().densities(u)
        return reference, torch.where(u.squeeze(-1) > 0.0, torch.nan, increment)

    path = type(case.path())(densities)
    particles = path.at(-torch.rand(500, 1, dtype=torch.float64), 1.0)
    for _ in range(10):
        particles = move(path, particles, 1.0, torch.ones(1).double(), 0.7, 3).particles
    assert (particles.position <= 0).all() and particles.increment.isfinite().all()


def test_scales_of_independent_gaussians():
    deviation = torch.tensor([0.01, 1.0, 30.0], dtype=torch.float64)
    position = deviation * torch.randn(20_000, 3, dtype=torch.float64)
    found = scales(position, -position / deviation**2)
    torch.testing.assert_close(found, deviation, rtol=0.05, atol=0.0)
    apart = position + 1000 * deviation * (torch.arange(20_000) % 2).unsqueeze(-1)
    modes = scales(apart, -position / deviation**2)
    assert (modes / deviation < 40).all()  # their distance alone would say 500


def test_tuning_follows_acceptance_and_length():
    """On a Gaussian, trajectories of about a quarter turn, in steps that are accepted."""
    case = conjugate(8, widest=0.0)
    path = case.path()
    exact = torch.distributions.MultivariateNormal(case.mean, case.covariance)
    particles, tuning = path.at(exact.sample((256,)), 1.0), Tuning(step_size=0.01, time=0.2)
    acceptances = []
    for _ in range(150):
        scale = scales(particles.position, particles.gradient)
        made = move(path, particles, 1.0, scale, tuning.step_size, tuning.n_steps)
        tuning = tuning.after(made, particles.position, scale)
        particles = made.particles
        acceptances.append(float(made.acceptance.mean()))
    assert sum(acceptances[-50:]) / 50 == pytest.approx(0.9, abs=0.1)
    assert 0.8 < tuning.time < 6.0


def walk(correlation, n_moves, n=4096, modes=0.0):
    """Displacements of particles whose correlation with their start is ``correlation**k``."""

    def particles(position):
        return Particles(position, position[:, 0], position[:, 1], position)

    apart = modes * (torch.arange(n) % 2).unsqueeze(-1)
    position = torch.randn(n, 6)
    displacements = Displacements(particles(position + apart))
    for _ in range(n_moves):
        noise = (1 - correlation**2) ** 0.5 * torch.randn(n, 6)
        position = correlation * position + noise
        displacements.add(particles(position + apart))
    return displacements


@pytest.mark.parametrize("modes", [0.0, 1000.0])
@pytest.mark.parametrize(
    ("correlation", "n_moves", "forgotten"),
    [
        (0.0, 1, False),  # one move says nothing
        (0.0, 2, True),
        (0.7, 2, False),
        (0.97, 3, False),  # an odd number has no half
        (0.97, 5, False),
        (0.7, 12, True),
        (1.0, 20, False),  # nor do moves that were all rejected
        (0.97, 20, False),
        (0.97, 160, True),
    ],
)
def test_what_is_forgotten(correlation, n_moves, forgotten, modes):
    assert walk(correlation, n_moves, modes=modes).are_saturated(0.9) == forgotten


@pytest.mark.parametrize(
    ("slow", "share", "forgotten"),
    [
        ([5], 0.5, True),  # of six positions, and both log densities
        ([3, 4, 5], 0.5, True),
        ([3, 4, 5], 0.9, False),
        ([0], 0.5, False),  # on which a log density rests
    ],
)
def test_how_much_is_forgotten(slow, share, forgotten):
    """Where some quantities move in small steps, and the others without memory."""

    def particles(position):
        return Particles(position, position[:, 0], position[:, 1], position)

    position = torch.randn(4096, 6)
    displacements = Displacements(particles(position))
    for _ in range(4):
        fresh = torch.randn(4096, 6)
        fresh[:, slow] = position[:, slow] + 0.01 * fresh[:, slow]
        position = fresh
        displacements.add(particles(position))
    assert displacements.are_saturated(share) == forgotten


@given(st.integers(1, 7), st.integers(1, 90))
@settings(deadline=None, max_examples=100)
def test_a_trail_is_evenly_spaced_over_the_later_moves(length, n_moves):
    trail = Trail(length)
    for i in range(1, n_moves + 1):
        trail.add(torch.full((3, 2), float(i)))
    found = trail.last
    kept = min(length, n_moves)
    assert found.shape == (3, kept, 2) and (found == found[:1, :, :1]).all()
    moves = found[0, :, 0]
    gaps = moves.diff().unique()
    assert len(gaps) <= 1 and (moves <= n_moves).all()
    stride = int(gaps[0]) if len(gaps) else 1
    assert length == 1 or n_moves - moves[-1] < stride  # nothing later was given up
    assert length * stride * 2 <= max(2 * n_moves, 2 * length)  # nor anything in between needlessly
