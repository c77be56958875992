"""Where the evidence goes wrong: narrow guides, and mass beyond what floats hold."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

from pyro_ugmm.sampling import sample_posterior, smc
from pyro_ugmm.sampling.path import Path
from pyro_ugmm.sampling.tempering import log_bridge, longest_step
from pyro_ugmm.status import Status

from .gaussians import conjugate
from .lines import X, Y, exact_regression, guide_about_the_posterior, regression

QUIET = {"progress": False, "seed": 0}


def from_a_guide(case, width, seed, n_particles=256):
    """Samples from independent normals so many times as wide as the posterior."""
    guide = torch.distributions.Normal(case.mean, width * case.covariance.diagonal().sqrt())

    def densities(u):
        reference, increment = case.path().densities(u)
        log_q = guide.log_prob(u).sum(-1)
        return log_q, reference + increment - log_q

    path, generator = Path(densities, is_bounded=False), torch.Generator().manual_seed(seed)
    noise = torch.randn(n_particles, case.n_features, dtype=torch.float64, generator=generator)
    state = smc.init(path, guide.mean + guide.stddev * noise, 4)
    while state.temperature < 1:
        most = state.temperature + longest_step(state.increments)
        state = smc.step(path, state, generator=generator)
        assert state.temperature <= most + 1e-12
    return state


@pytest.mark.parametrize(("n_features", "width"), [(1, 0.25), (1, 0.05), (3, 0.25), (10, 0.25)])
def test_a_guide_that_is_too_narrow_does_not_bias_the_evidence(n_features, width):
    """Mean weights would miss by a third of a nat, and by one where it is twenty times."""
    case = conjugate(n_features, widest=1.0)
    states = [from_a_guide(case, width, seed) for seed in range(12)]
    errors = torch.stack([state.log_evidence for state in states]) - case.log_evidence
    assert abs(float(errors.mean())) < 0.2
    deviation = case.covariance.diagonal().sqrt()
    widths = torch.stack([state.particles.position.std(0) for state in states]) / deviation
    assert float(widths.log().mean()) == pytest.approx(0.0, abs=0.05)


def test_a_models_guide_that_is_too_narrow():
    """Mean weights would miss by 0.7."""
    guide, evidence = guide_about_the_posterior(shift=0.0, width=0.05), exact_regression()[2]
    samples = [
        sample_posterior(regression, X.double(), Y.double(), start=guide, progress=False, seed=seed)
        for seed in range(8)
    ]
    errors = [sample.log_evidence - evidence for sample in samples]
    assert abs(sum(errors)) / len(errors) < 0.35


@pytest.mark.parametrize("k", [0.1, 0.5, 2.0])
def test_the_longest_step_knows_the_tail(k):
    """Log weights of a Pareto tail are exponential; a step of 0.5 / k leaves a shape of a half."""
    increments = torch.from_numpy(stats.expon(scale=k).rvs((4, 5000), random_state=0))
    assert longest_step(increments) == pytest.approx(0.5 / k, rel=0.15)
    least = torch.finfo(torch.float64).min
    dead = torch.cat([increments, torch.full_like(increments, least)], -1)
    assert longest_step(dead) == pytest.approx(longest_step(increments), rel=1e-6)
    assert longest_step(torch.zeros(4, 10)) == math.inf
    assert longest_step(torch.full((4, 10), torch.finfo(torch.float32).min)) == math.inf


def test_the_bridge_between_exact_draws():
    r"""From N(0, 1) to a density of N(1, 4) that is multiplied by 7."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 3, 20_000, dtype=torch.float64, generator=generator)
    near, far = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(1.0, 2.0)

    def increment(u):
        return (far.log_prob(u) + math.log(7.0) - near.log_prob(u)) / 0.3

    found = log_bridge(increment(noise[0]), increment(1 + 2 * noise[1]), 0.3)
    torch.testing.assert_close(found, torch.full((3,), math.log(7.0)).double(), atol=0.05, rtol=0.0)


def test_the_bridge_from_particles_of_no_density():
    """A quarter of them has one, of e^2."""
    least = torch.finfo(torch.float64).min
    before = torch.tensor([[2.0, least, least, least]], dtype=torch.float64)
    found = log_bridge(before, torch.full((1, 4), 2.0).double(), 1.0)
    assert float(found) == pytest.approx(2 + math.log(0.25), abs=1e-9)


def coin(concentration, dtype=torch.float32):
    def model(x):
        a = torch.tensor(concentration, dtype=dtype)
        chance = pyro.sample("chance", dist.Beta(a, a))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Bernoulli(chance), obs=x)

    return model


MIXED, ALIKE = torch.tensor([0.0, 1.0, 0.0]), torch.zeros(3)


@pytest.mark.parametrize(("x", "status"), [(MIXED, "CONVERGED"), (ALIKE, "LIMIT_REACHED")])
def test_a_prior_beyond_the_numbers_has_no_evidence(x, status):
    """A third of Beta(0.01, 0.01) rounds to zero or to one; of tosses alike, the posterior too."""
    sample = sample_posterior(coin(0.01), x, num_particles=1024, **QUIET)
    assert sample.status is Status[status], sample.reason
    assert math.isnan(sample.log_evidence) and sample.log_evidences.isnan().all()
    assert "There is no log_evidence" in sample.reason and "float64" in sample.reason
    assert sample.draws["chance"].isfinite().all()


def test_a_prior_within_the_numbers_has_its_evidence():
    from scipy.special import betaln

    model = coin(0.5, torch.float64)
    sample = sample_posterior(model, MIXED.double(), num_particles=1024, **QUIET)
    assert sample.converged and "no log_evidence" not in sample.reason
    assert sample.log_evidence == pytest.approx(betaln(1.5, 2.5) - betaln(0.5, 0.5), abs=0.15)


def test_a_posterior_that_collapses_to_a_point_is_no_success():
    def of_scale_zero(x):
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, scale), obs=x)

    sample = sample_posterior(of_scale_zero, ALIKE, num_particles=16, most_moves=4, **QUIET)
    assert sample.status is Status.LIMIT_REACHED


def test_too_few_particles_for_the_temperatures_are_no_success():
    def far(x):
        at = pyro.sample("at", dist.Normal(torch.zeros(30), 10.0).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(at.sum(), 0.01), obs=x)

    sample = sample_posterior(far, torch.full((3,), 3.0), num_particles=8, most_moves=2, **QUIET)
    assert sample.status is Status.LIMIT_REACHED and "raise num_particles" in sample.reason
