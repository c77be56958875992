"""Sampling over the processes of torch.distributed: each evaluates a part, all get the whole."""

import signal

import pyro
import pyro.distributions as dist
import pytest
import torch
import torch.multiprocessing as mp

from pyro_ugmm.sampling import sample_posterior, smc
from tests.gloo import join, leave, outcome

from .lines import X, Y, guide_about_the_posterior, regression

OPTIONS = {"num_particles": 36, "progress": False, "seed": 0}
GUIDE = guide_about_the_posterior(shift=4.0, width=0.3)


def sampled(model=regression, x=X, y=Y, **options):
    """In double precision, so that rounding turns no decision."""
    return sample_posterior(model, x.double(), y.double(), **OPTIONS | options)


def plain(sample):
    n_gradients = [rung.n_gradients for rung in sample.rungs]
    return [sample.draws["slope"], sample.log_evidences, torch.tensor(n_gradients)]


def stopped_then_whole(path):
    """A run that one process breaks off, and the one that goes on."""
    step, n_taken = smc.step, 0

    def stopping(*args, **options):
        nonlocal n_taken
        n_taken += 1
        if n_taken == 3 and torch.distributed.get_rank() == 1:
            raise RuntimeError("no light")
        return step(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smc, "step", stopping)
        with pytest.raises(ValueError, match=r"RuntimeError: no light \(on rank 1\)"):
            sampled(checkpoint=path)
    with pytest.MonkeyPatch.context() as patch:
        n_taken = 10  # the others are left to take
        patch.setattr(smc, "step", stopping)
        sample = sampled(checkpoint=path)
    assert n_taken - 10 == len(sample.rungs) - 2
    return plain(sample)


def failing(bad):
    def model(x, y=None):
        if bad:
            raise RuntimeError("no memory")
        return regression(x, y)

    return model


def interrupted(bad):
    def model(x, y=None):
        if bad:
            signal.raise_signal(signal.SIGINT)
        return regression(x, y)

    return model


def other_prior(x, y=None):
    slope = pyro.sample("slope", dist.Normal(x.new_zeros(()), 3.0))
    intercept = pyro.sample("intercept", dist.Normal(x.new_zeros(()), 2.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(intercept + slope * x, 0.5), obs=y)


SHARED = {
    "from the prior": lambda: sampled(),
    "from a guide": lambda: sampled(start=GUIDE),
    "two particles of one population": lambda: sampled(num_particles=2, num_populations=1),
}
# Calls of the first process and of the second, and what both say.
REFUSED = {
    "an error": (lambda bad: sampled(failing(bad)), r"(?s)RuntimeError: no memory.*\(on rank 1\)"),
    "the keyboard": (
        lambda bad: sampled(interrupted(bad)),
        r"interrupted by the keyboard \(on rank 1\)",
    ),
    "an argument": (
        lambda bad: sampled(num_particles=10 if bad else 36),
        r"num_particles: .*\(on rank 1\)",
    ),
    "other data": (lambda bad: sampled(y=Y + bad), "data: expected the same on all processes"),
    "another model": (
        lambda bad: sampled(other_prior if bad else regression),
        "model: expected the same on all processes",
    ),
    "another seed": (lambda bad: sampled(seed=int(bad)), "seed: expected the same on all"),
    "another start": (
        lambda bad: sampled(start=GUIDE if bad else None),
        "start: expected the same on all processes",
    ),
}


def attempt(call, *arguments):
    return outcome(lambda: plain(call(*arguments)))


def _process(rank, world_size, folder, results):
    join(rank, world_size, f"{folder}/meeting")
    try:
        for name, call in SHARED.items():
            results[name, rank] = attempt(call)
        for name, (call, _) in REFUSED.items():
            results[name, rank] = attempt(call, rank == 1)
            torch.distributed.barrier()
        torch.manual_seed(rank)
        results["no seed", rank] = attempt(lambda: sampled(seed=None))
        results["resumed", rank] = stopped_then_whole(f"{folder}/run.pt")
        results["alone", rank] = attempt(lambda: sampled(seed=rank, group=False))
    finally:
        leave()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    context = mp.get_context("forkserver")
    with context.Manager() as manager:
        results = manager.dict()
        arguments = (2, str(tmp_path_factory.mktemp("gloo")), results)
        mp.start_processes(_process, arguments, nprocs=2, start_method="forkserver")
        yield dict(results)


@pytest.mark.parametrize("name", SHARED)
def test_two_processes_are_one(results, name):
    expected = plain(SHARED[name]())
    for rank in (0, 1):
        torch.testing.assert_close(results[name, rank], expected, rtol=1e-6, atol=1e-8)


def test_all_have_the_same(results):
    for name in (*SHARED, "no seed", "resumed"):
        first, second = results[name, 0], results[name, 1]
        assert all(map(torch.equal, first, second))


def test_a_run_that_was_broken_off_goes_on_to_the_same(results):
    assert all(map(torch.equal, results["resumed", 0], results["from the prior", 0]))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_can_sample_alone(results, rank):
    torch.testing.assert_close(results["alone", rank], plain(sampled(seed=rank)))


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_of_one_is_an_error_of_all(results, name):
    first, second = (results[name, rank] for rank in (0, 1))
    assert isinstance(first, str) and first == second and first.startswith("ValueError: ")
    with pytest.raises(ValueError, match=REFUSED[name][1]):
        raise ValueError(first.removeprefix("ValueError: "))


def test_what_is_no_group():
    with pytest.raises(ValueError, match="group: expected a process group, None"):
        sampled(group=True)
