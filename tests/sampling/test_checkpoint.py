"""Runs that are stopped and taken up again give what they would have given."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.sampling import sample_posterior, smc
from pyro_ugmm.status import Status

from .lines import X, Y, guide_about_the_posterior, regression

OPTIONS = {"num_particles": 64, "progress": False, "seed": 0}
GUIDE = guide_about_the_posterior(shift=4.0, width=0.3)


def stopped_at(monkeypatch, n_steps, error=KeyboardInterrupt):
    """Lets the algorithm take that many steps."""
    step, taken = smc.step, 0

    def stopping(*args, **options):
        nonlocal taken
        if taken == n_steps:
            raise error
        taken += 1
        return step(*args, **options)

    monkeypatch.setattr(smc, "step", stopping)


def assert_same(ours, theirs):
    for name, draws in theirs.draws.items():
        assert torch.equal(ours.draws[name], draws)
    assert torch.equal(ours.log_evidences, theirs.log_evidences)
    assert (ours.rungs, ours.r_hat, ours.reason) == (theirs.rungs, theirs.r_hat, theirs.reason)
    assert repr(ours.moved) == repr(theirs.moved)


@pytest.mark.parametrize("start", [None, GUIDE], ids=["prior", "guide"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_run_that_was_stopped_goes_on_to_the_same(start, error, monkeypatch, tmp_path):
    whole = sample_posterior(regression, X, Y, start=start, **OPTIONS)
    assert len(whole.rungs) > 2
    again = {"start": start, "checkpoint": tmp_path / "run.pt", **OPTIONS}
    for n_steps in (0, 2):
        with monkeypatch.context() as patch:
            stopped_at(patch, n_steps, error)
            try:
                sample = sample_posterior(regression, X, Y, **again)
            except RuntimeError:
                continue
        assert sample.status is Status.INTERRUPTED and len(sample.rungs) == n_steps
        assert "with the same checkpoint" in sample.reason
        assert math.isnan(sample.log_evidence) and sample.moved is None
    assert_same(sample_posterior(regression, X, Y, **again), whole)
    stopped_at(monkeypatch, 0, AssertionError)
    assert_same(sample_posterior(regression, X, Y, **again), whole)  # which had ended


def test_without_a_seed_the_chance_is_in_the_checkpoint(monkeypatch, tmp_path):
    options = OPTIONS | {"seed": None}
    torch.manual_seed(3)
    whole = sample_posterior(regression, X, Y, **options)
    torch.manual_seed(3)
    with monkeypatch.context() as patch:
        stopped_at(patch, 2)
        sample_posterior(regression, X, Y, checkpoint=tmp_path / "run.pt", **options)
    torch.manual_seed(4)
    assert_same(
        sample_posterior(regression, X, Y, checkpoint=tmp_path / "run.pt", **options), whole
    )


def other(x, y=None):
    slope = pyro.sample("slope", dist.Normal(0.0, 3.0))
    intercept = pyro.sample("intercept", dist.Normal(0.0, 2.0))
    with pyro.plate("data", len(x)):
        return pyro.sample("y", dist.Normal(intercept + slope * x, 0.5), obs=y)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"num_particles": 128}, "num_particles is 128"),
        ({"num_populations": 2}, "num_populations is 2"),
        ({"most_moves": 4}, "most_moves is 4"),
        ({"seed": 1}, "seed is 1"),
        ({"start": GUIDE}, "start is guide_about_the_posterior"),
        ({"y": Y + 1}, "data is"),
        ({"x": X.double(), "y": Y.double()}, "data is"),
        ({"model": other}, "model is other"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_stays(changed, said, monkeypatch, tmp_path):
    path = tmp_path / "run.pt"
    call = {"model": regression, "x": X, "y": Y, "checkpoint": path, **OPTIONS}
    with monkeypatch.context() as patch:
        stopped_at(patch, 1)
        sample_posterior(**call)
    contents = path.read_bytes()
    with pytest.raises(ValueError, match=f"checkpoint: expected one of this run, .*{said}"):
        sample_posterior(**call | changed)
    assert path.read_bytes() == contents


def test_other_priors_and_values_are_another_run(monkeypatch, tmp_path):
    x = torch.randn(20, 1, generator=torch.Generator().manual_seed(0))
    call = {"x": x, "checkpoint": tmp_path / "run.pt", **OPTIONS}
    stopped_at(monkeypatch, 0)
    sample_posterior(BayesianGaussianMixture(1, 1, priors=Priors()), **call)
    for model, said in (
        (BayesianGaussianMixture(1, 1, priors=Priors(means=dist.Normal(0.0, 3.0))), "priors is"),
        (BayesianGaussianMixture(2, 1, priors=Priors()), "model is"),
    ):
        with pytest.raises(ValueError, match=f"expected one of this run, .*{said}"):
            sample_posterior(model, **call)


@pytest.mark.parametrize("path", ["", "nowhere/run.pt", 3])
def test_paths_that_are_no_files(path, tmp_path):
    path = tmp_path / path if isinstance(path, str) else path
    with pytest.raises(ValueError, match="checkpoint: expected"):
        sample_posterior(regression, X, Y, checkpoint=path, **OPTIONS)


def test_a_damaged_checkpoint_is_refused_and_stays(tmp_path):
    path = tmp_path / "run.pt"
    sample_posterior(regression, X, Y, checkpoint=path, **OPTIONS)
    contents = path.read_bytes()[:-100]
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="checkpoint: expected a file that a run wrote"):
        sample_posterior(regression, X, Y, checkpoint=path, **OPTIONS)
    assert path.read_bytes() == contents
