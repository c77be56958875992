"""Training over the processes of torch.distributed: each gives its rows, all get the whole fit."""

import functools
import multiprocessing
import os
import signal
import time

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from pyro_ugmm.guides import low_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.optimization.stopping import StoppingRule, Verdict
from pyro_ugmm.status import Status
from pyro_ugmm.training import fit_mle, fit_svi
from tests.gloo import join, outcome
from tests.models.mixtures import NOTHING

N = 90
X = torch.randn(N, 2, generator=torch.Generator().manual_seed(0)).double()
X = X + 4 * (torch.arange(N) % 2)[:, None]
Y = torch.arange(N) % 2
ALL, PARTS = slice(None), (slice(0, 60), slice(60, N))
OPTIONS = {"steps": 12, "seed": 0, "progress": False}
PRIORS = Priors.from_data(X)
NAN = float("nan")


def mixture(priors=PRIORS):
    torch.manual_seed(0)
    return BayesianGaussianMixture(2, 2, priors=priors).double()


def classifier(priors=None, seed=0, sizes=(2, 3, 2)):
    torch.manual_seed(seed)
    return UGMMClassifier(UGMMNetwork(list(sizes), dtype=torch.float64), priors=priors)


def regression(x, y=None, size=None):
    """A user's own model, whose noise is learned without a prior."""
    slope = pyro.sample("slope", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
    noise = pyro.param("noise", x.new_ones(()), constraint=dist.constraints.positive)
    with pyro.plate("data", size or len(x), subsample=x), pyro.poutine.scale(scale=1.0):
        return pyro.sample("y", dist.Normal(x @ slope, noise), obs=y)


def slopes(x, y=None):
    loc = pyro.param("loc", x.new_zeros(2))
    scale = pyro.param("scale", x.new_ones(2), constraint=dist.constraints.positive)
    pyro.sample("slope", dist.Normal(loc, scale).to_event(1))


def without_size(x, y=None):
    return regression(x, y)


def svi(model, make_guide, *data, **options):
    return fit_svi(model, make_guide(model), *data, **OPTIONS | options)


def mle(*args, **options):
    return fit_mle(*args, **OPTIONS | options)


def svi_mixture(at=ALL, x=X, **options):
    return svi(mixture(), mean_field, x[at], **options)


def loader(at):
    return DataLoader(TensorDataset(X[at], Y[at]), batch_size=N)


# Each takes some rows, as a slice, and gives the same for all rows as for its part in a group.
SHARED = {
    "SVI without a trace": svi_mixture,
    "SVI by particles": lambda at: svi(
        classifier(Priors()), low_rank, X[at], Y[at], num_particles=3, max_gradient_norm=1.0
    ),
    "SVI by traces": lambda at: svi(mixture(), AutoNormal, X[at]),
    "SVI of functions": lambda at: svi(regression, lambda _: slopes, X[at], Y[at].double()),
    "SVI of a part": lambda at: svi_mixture(at, size=1000),
    "SVI of a dataset": lambda at: svi(
        classifier(Priors()), mean_field, TensorDataset(X[at], Y[at])
    ),
    "SVI of a loader": lambda at: svi(classifier(Priors()), mean_field, loader(at)),
    "likelihood of a network": lambda at: mle(classifier(), X[at], Y[at]),
    "likelihood of a mixture": lambda at: mle(mixture(Priors(**NOTHING)), X[at]),
}


class OneIsDone(StoppingRule):
    """Ends the run after three steps, on the second process."""

    def __init__(self, parameters, schedule):
        self._rank = torch.distributed.get_rank()

    def is_met(self, losses):
        return self._rank == 1 and len(losses) == 3

    def verdict(self, losses):
        return Verdict(Status.LIMIT_REACHED, f"says rank {self._rank}")


class Doing(StoppingRule):
    """Does something in a process after two steps."""

    def __init__(self, do, rank, parameters, schedule):
        self._do, self._is_here = do, torch.distributed.get_rank() == rank

    def update(self, n_steps):
        if n_steps == 2 and self._is_here:
            self._do()

    def verdict(self, losses):
        return Verdict(Status.LIMIT_REACHED, "done")


def doing(do):
    """The rule by which the second process does it."""
    return functools.partial(Doing, do, 1)


def fail_if_asked():
    """Fails by what does not tell a run from others."""
    if "NO_LIGHT" in os.environ:
        fail()


def fail():
    raise RuntimeError("no light")


def interrupt():
    signal.raise_signal(signal.SIGINT)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def with_entry(value, row=3):
    x = X.clone()
    x[row, 1] = value
    return x


def broken_off_then_whole(folder):
    """A run with batches that one process breaks off, and the one that goes on."""
    at = PARTS[torch.distributed.get_rank()]
    options = {"batch_size": 7, "checkpoint": f"{folder}/run.pt", "checkpoint_every": 1}
    options["stopping"] = doing(fail_if_asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_LIGHT", "1")
        with pytest.raises(ValueError, match=r"RuntimeError: no light \(on rank 1\)"):
            svi_mixture(at, **options)
    return svi_mixture(at, **options)


def batches_of_one_pass(at=ALL):
    return mle(classifier(), X[at], Y[at], batch_size=6, steps=10, learning_rate=lambda step: 0.0)


def spread():
    """A data set that torch's sampler shares out."""
    data = TensorDataset(X, Y)
    sampler = DistributedSampler(data, shuffle=False)
    return mle(classifier(), DataLoader(data, batch_size=N, sampler=sampler))


# What both get alike, whatever that is.
ALIKE = {
    "with batches": lambda bad, _: svi_mixture(PARTS[bad], batch_size=7),
    "no seed": lambda bad, _: svi_mixture(PARTS[bad], seed=torch.manual_seed(bad) and None),
    "other starts": lambda bad, _: mle(classifier(seed=bad), X[PARTS[bad]], Y[PARTS[bad]]),
    "ended by one": lambda bad, _: svi_mixture(PARTS[bad], stopping=OneIsDone),
    "interrupted": lambda bad, _: svi_mixture(PARTS[bad], stopping=doing(interrupt)),
    "broken down": lambda bad, _: svi_mixture(PARTS[bad], x=with_entry(1e200, row=63)),
    "a pass": lambda bad, _: batches_of_one_pass(PARTS[bad]),
    "spread by a sampler": lambda bad, _: spread(),
    "resumed": lambda bad, folder: broken_off_then_whole(folder),
    "not broken off": lambda bad, _: svi_mixture(
        PARTS[bad], batch_size=7, stopping=doing(fail_if_asked)
    ),
}

SETTINGS = {
    "steps": 3,
    "learning_rate": 0.3,
    "seed": 7,
    "size": 5000,
    "num_particles": 2,
    "max_gradient_norm": 2.0,
    "stopping": OneIsDone,
}
NAMES = {"learning_rate": "learning rates", "stopping": "stopping rule"}
# Calls of the first process and of the second, and what both say.
REFUSED = {
    "NaN": (lambda bad: svi_mixture(x=with_entry(NAN) if bad else X), r"row 3, .*rank 1"),
    "features": (lambda bad: svi_mixture(x=X[:, : 2 - bad]), r"x: .*rank 1"),
    "no rows": (lambda bad: svi_mixture(slice(0, 0) if bad else ALL), r"x: .*rank 1"),
    "an argument": (lambda bad: svi_mixture(steps=-bad), r"steps: .*rank 1"),
    "an error": (
        lambda bad: svi_mixture(stopping=doing(fail)),
        r"RuntimeError: no light \(on rank 1\)",
    ),
    **{
        f"other {name}": (
            lambda bad, name=name, value=value: svi_mixture(**({name: value} if bad else {})),
            f"{NAMES.get(name, name)}: expected the same on all processes",
        )
        for name, value in SETTINGS.items()
    },
    "other priors": (
        lambda bad: svi(mixture(Priors.from_data(X[PARTS[bad]])), mean_field, X),
        "priors: expected the same on all processes",
    ),
    "another model": (
        lambda bad: svi(classifier(Priors(), sizes=(2, 3 + bad, 2)), mean_field, X, Y),
        "expected the same on all processes",
    ),
    "another guide": (
        lambda bad: svi(mixture(), low_rank if bad else mean_field, X),
        "parameters and buffers: expected the same on all processes",
    ),
    "another rank": (
        lambda bad: svi(mixture(), lambda m: low_rank(m, rank=1 + bad), X),
        r"guide\..*: expected the same on all processes",
    ),
    "no size": (
        lambda bad: svi(without_size, lambda _: slopes, X, Y.double()),
        "model: expected one that takes size, as steps are of 90 of 180 rows, got one without",
    ),
    "several starts": (lambda bad: svi_mixture(num_starts=2), "num_starts: expected 1 with"),
    "another call": (
        lambda bad: mle(classifier(), X, Y) if bad else svi_mixture(),
        "expected the same on all processes|different steps",
    ),
    "a checkpoint": (
        lambda bad: svi_mixture(checkpoint="/nowhere/run.pt" if bad else None),
        "checkpoint: .*rank 1|different steps",
    ),
}


def plain(result):
    """What can be compared, of a run."""
    parts = [part for part in (result.model, result.guide) if part is not None]
    tensors = {}
    for i, part in enumerate(parts):
        values = part.state_dict() if isinstance(part, torch.nn.Module) else part.named_parameters()
        tensors |= {f"{i} {name}": tensor.detach() for name, tensor in dict(values).items()}
    return {"losses": result.losses, **tensors}, result.status.name, result.reason


def attempt(call, *arguments):
    return outcome(lambda: plain(call(*arguments)))


def _process(rank, folder, results):
    join(rank, 2, f"{folder}/meeting")
    for name, call in SHARED.items():
        results[name, rank] = attempt(call, PARTS[rank])
    for name, call in ALIKE.items():
        results[name, rank] = attempt(call, rank, folder)
    for name, (call, _) in REFUSED.items():
        results[name, rank] = attempt(call, rank)
        torch.distributed.barrier()
    results["alone", rank] = attempt(lambda: svi_mixture(PARTS[rank], group=False))
    began = time.monotonic()
    results["one died", rank] = attempt(lambda: svi_mixture(stopping=doing(die)))
    results["seconds", rank] = time.monotonic() - began


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    context = multiprocessing.get_context("forkserver")
    with context.Manager() as manager:
        results, folder = manager.dict(), str(tmp_path_factory.mktemp("gloo"))
        both = [context.Process(target=_process, args=(rank, folder, results)) for rank in (0, 1)]
        for process in both:
            process.start()
        for process in both:
            process.join()
        yield dict(results)


@pytest.mark.parametrize("name", SHARED)
def test_two_processes_are_one(results, name):
    expected = plain(SHARED[name](ALL))
    for rank in (0, 1):
        torch.testing.assert_close(results[name, rank][0], expected[0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", [*SHARED, *ALIKE])
def test_all_have_the_same(results, name):
    first, second = results[name, 0], results[name, 1]
    assert isinstance(first, tuple), first
    assert first[1:] == second[1:]
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_of_one_is_an_error_of_all(results, name):
    first, second = (results[name, rank] for rank in (0, 1))
    assert isinstance(first, str) and first == second and first.startswith("ValueError: ")
    with pytest.raises(ValueError, match=REFUSED[name][1]):
        raise ValueError(first.removeprefix("ValueError: "))


def test_all_start_where_the_first_does(results):
    expected = plain(mle(classifier(seed=0), X, Y))
    torch.testing.assert_close(results["other starts", 1][0], expected[0], rtol=1e-7, atol=1e-9)


def test_batches_average_to_the_loss_of_all_rows(results):
    """The first goes through its rows in ten steps, the second in five."""
    losses = results["a pass", 0][0]["losses"]
    whole = mle(classifier(), X, Y, steps=1).losses[0]
    torch.testing.assert_close(losses.mean(), whole)
    assert losses.std() > 0


def test_torchs_sampler_shares_a_data_set_out(results):
    expected = plain(mle(classifier(), X, Y))[0]["losses"]
    torch.testing.assert_close(results["spread by a sampler", 0][0]["losses"], expected)


def test_one_ends_all(results):
    assert len(results["ended by one", 0][0]["losses"]) == 3
    assert results["ended by one", 1][1:] == ("LIMIT_REACHED", "took 3 steps; says rank 0")
    assert results["interrupted", 0][1:] == ("INTERRUPTED", "interrupted after 2 of 12 steps")
    _, status, reason = results["broken down", 0]
    assert status == "BROKEN_DOWN" and "row 3" in reason and "(on rank 1)" in reason


def test_a_run_that_was_broken_off_goes_on_to_the_same(results):
    expected, taken_up = results["not broken off", 1][0], results["resumed", 1][0]
    torch.testing.assert_close(taken_up, expected, rtol=0, atol=0)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_can_fit_alone(results, rank):
    expected = plain(svi_mixture(PARTS[rank]))
    torch.testing.assert_close(results["alone", rank][0], expected[0])


def test_a_process_that_dies_ends_the_others(results):
    message = "ConnectionError: another process died, or did not answer within the time-out"
    assert results["one died", 0].startswith(message)
    assert results["seconds", 0] < 20  # of 60, which is the time-out
    assert ("one died", 1) not in results


def test_what_is_no_group():
    for fit in (lambda: svi_mixture(group=True), lambda: mle(classifier(), X, Y, group=0)):
        with pytest.raises(ValueError, match="group: expected a process group, None"):
            fit()
