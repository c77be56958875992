"""Programs as users write them: right numbers, or a ValueError; nothing is left behind."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoDelta, AutoGuideList, AutoMultivariateNormal, AutoNormal
from pyro.infer.reparam import LocScaleReparam
from pyro.poutine.runtime import _PYRO_STACK

from pyro_ugmm.diagnostics import to_inference_data
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.status import Status

QUIET = {"progress": False, "seed": 0}
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(20, generator=GENERATOR)
Y = 0.7 * X + 0.3 * torch.randn(20, generator=GENERATOR)


def observe(mean, y, scale=1.0):
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(mean, scale), obs=y)


def slope():
    return pyro.sample("slope", dist.Normal(0.0, 2.0))


def line(x, y=None):
    observe(slope() * x, y)


def wide(x):
    """Rows between zero and an end: most ends of the prior have a likelihood of zero."""
    end = pyro.sample("end", dist.Uniform(0.0, 100.0))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Uniform(0.0, end, validate_args=False), obs=x)


def window(x):
    """One end in twenty or so has a likelihood, which is flat."""
    end = pyro.sample("end", dist.Normal(0.0, 3.0))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Uniform(end, end + 0.5, validate_args=False), obs=x)


def precise(x):
    at = pyro.sample("at", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(at, 1e-8), obs=x)


ROWS = torch.tensor([5.0, 60.0, 90.0])
NEAR = torch.tensor([1.0, 1.1, 1.2])
SAME = torch.full((4,), 0.5, dtype=torch.float64)
NORMAL = torch.distributions.Normal(0.0, 3.0)


def of_the_window():
    low, high = float(NORMAL.cdf(NEAR.max() - 0.5)), float(NORMAL.cdf(NEAR.min()))
    return math.log(high - low) - 3 * math.log(0.5)


def of_the_precise():
    """The marginal density of four equal rows."""
    log_det = 3 * math.log(1e-16) + math.log(4.0)
    return -2 * math.log(2 * math.pi) - 0.5 * log_det - 0.125


EVIDENCES = {
    wide: (ROWS, math.log((90.0**-2 - 100.0**-2) / 2 / 100)),
    window: (NEAR, of_the_window()),
    precise: (SAME, of_the_precise()),
}


@pytest.mark.parametrize("program", EVIDENCES, ids=lambda program: program.__name__)
def test_likelihoods_of_zero_and_narrow_ones(program):
    x, evidence = EVIDENCES[program]
    sample = sample_posterior(program, x, num_particles=512, **QUIET)
    assert sample.converged, sample.reason
    error = max(0.3, 6 * sample.log_evidence_error)
    assert sample.log_evidence == pytest.approx(evidence, abs=error)
    assert len(sample.rungs) < 60


def sometimes_more(x, y=None):
    at = slope()
    observe(at * x + (pyro.sample("more", dist.Normal(0.0, 1.0)) if at > 0 else 0.0), y)


def scaled_prior(x, y=None):
    with poutine.scale(scale=0.5):
        at = slope()
    observe(at * x, y)


def masked_prior(x, y=None):
    with poutine.mask(mask=False):
        at = slope()
    observe(at * x, y)


def masked_distribution(x, y=None):
    at = pyro.sample("slope", dist.Normal(0.0, 1.0).expand([1]).mask(False).to_event(1))
    observe(at * x, y)


def improper(x, y=None):
    observe(pyro.sample("slope", dist.ImproperUniform(dist.constraints.real, (), ())) * x, y)


def noisy(x, y=None):
    observe(slope() * x + torch.randn(()), y)


DROPOUT = torch.nn.Dropout(0.5)


def with_dropout(x, y=None):
    observe(slope() * pyro.module("dropout", DROPOUT)(x), y)


def a_point(x, y=None):
    observe(slope() * x + pyro.sample("more", dist.Delta(torch.tensor(0.5))), y)


def half_precision(x, y=None):
    at = pyro.sample("slope", dist.Normal(torch.zeros((), dtype=torch.float16), 1.0))
    observe(at * x, y)


REFUSED = {
    sometimes_more: "the same latent sites .* at every run",
    scaled_prior: r"priors that are densities, .* scaled or masked \['slope'\]",
    masked_prior: r"priors that are densities, .* scaled or masked \['slope'\]",
    masked_distribution: r"priors that are densities, .* scaled or masked \['slope'\]",
    improper: "sites that can be drawn, got ImproperUniform",
    noisy: "a log density that is the same at every run",
    with_dropout: "a log density that is the same at every run",
    a_point: "latent sites with a density .*, got more, a Delta",
    half_precision: "torch.float32 or torch.float64 .*, got torch.float16",
}


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("program", REFUSED, ids=lambda program: program.__name__)
@pytest.mark.filterwarnings("ignore:torch.vmap cannot run")
def test_what_would_be_wrong_is_refused(program, seed):
    with pytest.raises(ValueError, match=f"model: expected {REFUSED[program]}"):
        sample_posterior(program, X, Y, num_particles=16, seed=seed, progress=False)


def test_a_reparametrized_site_is_a_function_of_others():
    def groups(x, y=None):
        tau = pyro.sample("tau", dist.HalfNormal(1.0))
        with pyro.plate("groups", 2):
            at = pyro.sample("at", dist.Normal(0.0, tau))
        observe(at.repeat(10), y)

    apart = poutine.reparam(groups, {"at": LocScaleReparam(0.0)})
    samples = [sample_posterior(one, X, Y, num_particles=512, **QUIET) for one in (groups, apart)]
    assert [*samples[1].draws] == ["tau", "at_decentered"]
    assert samples[0].log_evidence == pytest.approx(samples[1].log_evidence, abs=0.2)
    idata = to_inference_data(apart, samples[1], X, Y, num_samples=10, seed=0)
    assert [*idata.posterior] == ["tau", "at_decentered", "at"]


def test_parameters_are_held_and_not_left_behind():
    net = torch.nn.Linear(1, 1)

    def model(x, y=None):
        sigma = pyro.param("sigma", torch.tensor(0.3), constraint=dist.constraints.positive)
        shift = pyro.param("shift", torch.randn(()))
        module = pyro.module("net", net)
        observe(slope() * x + shift + module(x[:, None])[:, 0], y, sigma)

    pyro.clear_param_store()
    pyro.param("shift", torch.tensor(0.5))
    state = torch.get_rng_state()
    sample = sample_posterior(model, X, Y, num_particles=64, **QUIET)
    to_inference_data(model, sample, X, Y, num_samples=10, seed=0)
    assert [*pyro.get_param_store().keys()] == ["shift"]
    assert pyro.param("shift").item() == 0.5
    assert sorted(sample.held) == ["net$$$bias", "net$$$weight", "shift", "sigma"]
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    pyro.clear_param_store()


class Interrupted:
    """A program that the keyboard interrupts at one of its runs, and counts them."""

    def __init__(self, at=None):
        self.at, self.n_runs = at, 0

    def __call__(self, x, y=None):
        self.n_runs += 1
        at = slope()
        with pyro.plate("rows", len(x)):
            if self.n_runs == self.at:
                raise KeyboardInterrupt
            pyro.sample("y", dist.Normal(at * x, 1.0), obs=y)


def test_the_keyboard_at_any_time():
    counted = Interrupted()
    whole = sample_posterior(counted, X, Y, num_particles=16, **QUIET)
    n_runs, handlers = counted.n_runs, [*_PYRO_STACK]
    for at in (1, 10, n_runs // 2, n_runs - 3, n_runs - 1, n_runs):
        try:
            sample = sample_posterior(Interrupted(at), X, Y, num_particles=16, **QUIET)
        except KeyboardInterrupt:
            assert at < 40  # before there is a particle
            continue
        finally:
            assert [*_PYRO_STACK] == handlers
        assert sample.interrupted or sample.rungs[-1].temperature == 1
        assert math.isfinite(sample.log_evidence) == (not sample.interrupted)
    again = sample_posterior(line, X, Y, num_particles=16, **QUIET)
    assert torch.equal(again.draws["slope"], whole.draws["slope"])


def test_without_a_likelihood_there_is_no_evidence():
    sample = sample_posterior(line, X, Y * math.nan, num_particles=16, **QUIET)
    assert sample.status is Status.BROKEN_DOWN and math.isnan(sample.log_evidence)
    assert "raise num_particles" in sample.reason


def more_than_asked(x, y=None):
    pyro.sample("slope", dist.Normal(0.0, 1.0))
    pyro.sample("more", dist.Normal(0.0, 1.0))


def beyond_the_support(x, y=None):
    pyro.sample("scale", dist.Normal(0.0, 1.0))


def scales(x, y=None):
    observe(0.0, y, pyro.sample("scale", dist.HalfNormal(1.0)))


@pytest.mark.parametrize(
    ("program", "guide", "message"),
    [
        (line, more_than_asked, r"it draws \['more'\], which are no sites"),
        (scales, beyond_the_support, ".* scale .*GreaterThan"),
    ],
)
def test_guides_of_which_the_evidence_would_be_wrong(program, guide, message):
    with pytest.raises(ValueError, match=f"start: expected .*{message}"):
        sample_posterior(program, X, Y, start=guide, num_particles=16, **QUIET)


def test_densities_that_are_infinite_are_never_entered():
    """The rate is zero where its logarithm is far below what an exponential can hold."""

    def waiting(x):
        rate = pyro.sample("rate", dist.Gamma(0.001, 0.001))
        with pyro.plate("rows", len(x)):
            pyro.sample("x", dist.Exponential(rate), obs=x)

    sample = sample_posterior(waiting, torch.ones(3), num_particles=1024, **QUIET)
    assert sample.converged, sample.reason
    assert float(sample.draws["rate"].mean()) == pytest.approx(1.0, abs=0.1)
    assert float(sample.draws["rate"].std()) == pytest.approx(3**-0.5, abs=0.1)


def plane(x, y=None):
    """A line of three coefficients in two sites."""
    slopes = pyro.sample("slopes", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    level = pyro.sample("level", dist.Normal(0.0, 2.0))
    observe(level + slopes[0] * x + slopes[1] * x.square(), y)


def in_parts(slopes, level=AutoNormal):
    """A guide whose parts are in another order than the sites."""
    guide = AutoGuideList(plane)
    guide.append(level(poutine.block(plane, expose=["level"])))
    guide.append(slopes(poutine.block(plane, expose=["slopes"])))
    guide(X, Y)
    return guide


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("slopes", [AutoNormal, AutoMultivariateNormal])
def test_guides_in_a_list(slopes):
    guide = in_parts(lambda model: slopes(model, init_scale=0.5))
    sample = sample_posterior(plane, X, Y, start=guide, num_particles=512, **QUIET)
    features = torch.stack([torch.ones(20), X, X.square()])
    covariance = 4 * features.mT @ features + torch.eye(20)
    exact = dist.MultivariateNormal(torch.zeros(20), covariance).log_prob(Y)
    error = max(0.2, 6 * sample.log_evidence_error)
    assert sample.log_evidence == pytest.approx(float(exact), abs=error)


@pytest.mark.usefixtures("own_store")
def test_a_list_with_a_point_is_refused():
    with pytest.raises(ValueError, match=r"start: expected a guide with a density: .*'level'"):
        sample_posterior(plane, X, Y, start=in_parts(AutoNormal, AutoDelta), **QUIET)


def test_data_in_another_precision_than_the_priors():
    sample = sample_posterior(line, X.double(), Y.double(), num_particles=512, **QUIET)
    covariance = 4 * X[:, None] * X + torch.eye(20)
    exact = dist.MultivariateNormal(torch.zeros(20), covariance).log_prob(Y)
    assert sample.log_evidence == pytest.approx(float(exact), abs=0.3)
