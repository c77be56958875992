"""A fit goes on from its checkpoint to the same numbers, and takes no other fit's."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from pyro_ugmm.distributions import GaussianMixture
from pyro_ugmm.distributions.covariance import STRUCTURES
from pyro_ugmm.em import ConjugatePrior, EMFitter, algorithm, initialize
from tests.gloo import join, leave

from .cases import STRUCTURE_NAMES, clusters, initialized, parameters

X = clusters(90)
ROOT = Path(__file__).parent.parent.parent
WEIGHT = torch.linspace(0.5, 1.5, 90).double()


def starts(structure="full", n_init=5, dtype=torch.float64, seed=0):
    return initialized(X.to(dtype), 3, structure, n_init=n_init, seed=seed)


def with_a_lost_component():
    start = initialize(X, 3, seed=0)
    means = start.means.clone()
    means[2] = 1e6
    return GaussianMixture(start.weights, means, start.covariance)


def singular():
    return initialize(X, 3, seed=0, reg_covar=0)


PRIOR = ConjugatePrior(X.mean(0), torch.cov(X.T), mean_strength=1, covariance_strength=3)
STOPPING = EMFitter(tol=1e-3, max_iter=9, progress=False)
FITS = {
    **{name: (STOPPING, X, starts(name)) for name in STRUCTURE_NAMES},
    "float32": (STOPPING, X.float(), starts(dtype=torch.float32)),
    "prior": (EMFitter(tol=1e-3, max_iter=9, prior=PRIOR, progress=False), X, starts()),
    "revived": (STOPPING, X, with_a_lost_component()),
    "singular": (
        EMFitter(reg_covar=0, tol=0, max_iter=9, progress=False),
        torch.cat([X, torch.ones(1, 3).double()])[[*range(40), *[90] * 50]],
        singular(),
    ),
    "array": (STOPPING, X.numpy(), starts()),
    "stream": (STOPPING, [X[:40], X[40:]], starts()),
}


def assert_identical(result, other):
    for a, b in zip(parameters(result.mixture), parameters(other.mixture), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(result.history, other.history)
    assert torch.equal(result.restarts, other.restarts)
    assert result.events == other.events and result.findings == other.findings
    assert (result.status, result.reason) == (other.status, other.reason)
    assert (result.log_likelihood, result.objective) == (other.log_likelihood, other.objective)


def stop_after(monkeypatch, n_steps):
    calls, maximize = [], algorithm.maximize

    def stopping(*args):
        calls.append(1)
        if len(calls) > n_steps:
            raise RuntimeError("the machine went down")
        return maximize(*args)

    monkeypatch.setattr(algorithm, "maximize", stopping)


@pytest.mark.parametrize("n_steps", [0, 1, 4, 12])
@pytest.mark.parametrize("name", FITS)
def test_goes_on_to_the_same_numbers(name, n_steps, tmp_path, monkeypatch):
    fitter, x, start = FITS[name]
    whole = fitter.fit(x, start)
    options = {"checkpoint": tmp_path / "fit", "checkpoint_every": 2}
    with monkeypatch.context() as patch:
        stop_after(patch, n_steps)
        try:
            fitter.fit(x, start, **options)
        except RuntimeError as error:
            assert "went down" in str(error)  # noqa: PT017
    assert_identical(fitter.fit(x, start, **options), whole)
    with monkeypatch.context() as patch:
        stop_after(patch, 0)  # which has no step left to take
        assert_identical(fitter.fit(x, start, **options), whole)


def test_an_interrupted_fit_goes_on(tmp_path, monkeypatch):
    fitter, x, start = FITS["full"]
    fitter = replace(fitter, engine="torch")
    calls, read = [], algorithm.Expectation.read

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return read(*args)

    options = {"checkpoint": tmp_path / "fit", "checkpoint_every": 1}
    with monkeypatch.context() as patch:
        patch.setattr(algorithm.Expectation, "read", interrupted)
        assert fitter.fit(x, start, **options).interrupted
    assert_identical(fitter.fit(x, start, **options), fitter.fit(x, start))


def changed(tensor, at):
    other = tensor.clone()
    other.view(-1)[at] += 1e-6
    return other


def with_start(**changes):
    start = starts()
    values = {"weights": start.weights, "means": start.means, "values": start.covariance.values}
    values |= changes
    return GaussianMixture(values["weights"], values["means"], STRUCTURES["full"](values["values"]))


OTHERS = {
    "a row in the middle": {"x": changed(X, 133)},
    "the last row": {"x": changed(X, -1)},
    "a row less": {"x": X[:-1], "sample_weight": WEIGHT[:-1]},
    "rows in another order": {"x": X.flip(0), "sample_weight": WEIGHT.flip(0)},
    "a weight": {"sample_weight": changed(WEIGHT, 50)},
    "no weights": {"sample_weight": None},
    "a stream": {"x": list(zip(X.split(30), WEIGHT.split(30), strict=True))},
    "a mean": {"start": with_start(means=changed(starts().means, -1))},
    "a matrix": {"start": with_start(values=starts().covariance.values * (1 + 1e-12))},
    "a start less": {"start": starts(n_init=4)},
    "another structure": {"start": starts("diagonal")},
    "another tol": {"fitter": EMFitter(tol=1.1e-3, max_iter=9)},
    "another max_iter": {"fitter": EMFitter(tol=1e-3, max_iter=8)},
    "another reg_covar": {"fitter": EMFitter(tol=1e-3, max_iter=9, reg_covar=1.1e-6)},
    "missing entries": {"fitter": EMFitter(tol=1e-3, max_iter=9, missing="marginalize")},
    "a prior": {"fitter": EMFitter(tol=1e-3, max_iter=9, prior=PRIOR)},
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_another_fit_is_refused(other, tmp_path):
    mine = {"fitter": STOPPING, "x": X, "start": starts(), "sample_weight": WEIGHT}
    path = tmp_path / "fit"

    def fit(fitter, x, start, sample_weight):
        weight = None if isinstance(x, list) else sample_weight
        return fitter.fit(x, start, weight, checkpoint=path)

    fit(**mine)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="checkpoint: expected one of this run"):
        fit(**mine | OTHERS[other])
    assert path.read_bytes() == before
    fit(**mine)


@pytest.mark.parametrize(
    "changes",
    [
        {"mean_strength": 1 + 1e-9},
        {"covariance_strength": 3 + 1e-9},
        {"concentration": 1 + 1e-9},
        {"mean": torch.nn.Parameter(changed(PRIOR.mean, 0))},
        {"covariance": PRIOR.covariance * (1 + 1e-9)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_last_digits_of_a_prior_count(changes, tmp_path):
    fitter, x, start = FITS["prior"]
    fitter.fit(x, start, checkpoint=tmp_path / "fit")
    other = replace(fitter, prior=replace(PRIOR, **changes))
    with pytest.raises(ValueError, match="checkpoint: expected one of this run, whose settings"):
        other.fit(x, start, checkpoint=tmp_path / "fit")


def test_a_stream_may_give_its_rows_in_any_order(tmp_path, monkeypatch):
    fitter, start, path = STOPPING, starts(), tmp_path / "fit"
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(RuntimeError):
            fitter.fit([X[:40], X[40:]], start, checkpoint=path, checkpoint_every=1)
    shuffled = X[torch.randperm(90)]
    result = fitter.fit([shuffled[:50], shuffled[50:]], start, checkpoint=path)
    whole = fitter.fit(X, start)
    torch.testing.assert_close(result.history, whole.history, rtol=1e-9, atol=0)
    with pytest.raises(ValueError, match="whose data is"):
        fitter.fit([X[:40], changed(X[40:], 7)], start, checkpoint=path)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"checkpoint": "missing/fit"}, "checkpoint: expected a file in a folder"),
        ({"checkpoint": "fit", "checkpoint_every": 0}, "checkpoint_every: expected a positive"),
        ({"checkpoint": "fit", "checkpoint_every": True}, "checkpoint_every: expected a positive"),
    ],
)
def test_bad_input(options, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=match):
        STOPPING.fit(X, starts(), **options)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "fit"
    STOPPING.fit(X, starts(), checkpoint=path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="checkpoint: expected a file that a run wrote"):
        STOPPING.fit(X, starts(), checkpoint=path)


SCRIPT = """
import sys, time, numpy as np, torch, tests
from pyro_ugmm.em import EMFitter, algorithm, initialize
x = np.load(sys.argv[1], mmap_mode="r")
maximize = algorithm.maximize
def slowly(*args):
    print("step", flush=True)
    time.sleep(0.01)
    return maximize(*args)
algorithm.maximize = slowly
fitter = EMFitter(tol=0, max_iter=60, progress=False, engine="torch")
result = fitter.fit(x, initialize(x, 3, n_init=2, seed=0), checkpoint=sys.argv[2],
                    checkpoint_every=1)
torch.save([result.mixture.means, result.history], sys.argv[3])
"""


def test_a_killed_process_over_a_memory_map_loses_nothing(tmp_path):
    data, out = tmp_path / "x.npy", tmp_path / "out"
    np.save(data, X.numpy())
    for n_steps in (21, None):
        command = [sys.executable, "-c", SCRIPT, str(data), str(tmp_path / "fit"), str(out)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        if n_steps is None:
            n_left = len(process.communicate()[0].split())
            assert process.returncode == 0
        else:
            for _ in range(n_steps):
                process.stdout.readline()
            process.kill()
            assert process.wait() == -signal.SIGKILL
            process.stdout.close()
    assert n_left <= 40
    fitter = EMFitter(tol=0, max_iter=60, progress=False, engine="torch")
    whole = fitter.fit(X, initialize(X, 3, n_init=2, seed=0))
    means, history = torch.load(out)
    assert torch.equal(means, whole.mixture.means) and torch.equal(history, whole.history)


def _process(rank, folder, results):
    torch.set_num_threads(1)
    start = starts()  # of all rows, alone
    join(rank, 2, f"{folder}/meeting")
    mine = X[:50] if rank == 0 else X[50:]
    options = {"checkpoint": f"{folder}/fit", "checkpoint_every": 1}
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises((RuntimeError, ValueError), match="went down"):
            STOPPING.fit(mine, start, **options)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 0)
        with pytest.raises((RuntimeError, ValueError), match="went down"):
            STOPPING.fit(mine, start, **options)
    results[rank] = STOPPING.fit(mine, start, **options)
    elsewhere = f"{folder}/fit" if rank == 0 else f"{folder}/another"
    with pytest.raises(ValueError, match="all processes see"):
        STOPPING.fit(mine, start, checkpoint=elsewhere)
    leave()


def test_of_several_processes_one_writes_and_all_go_on(tmp_path):
    context = mp.get_context("spawn")
    with context.Manager() as manager:
        results = manager.dict()
        mp.spawn(_process, (str(tmp_path), results), nprocs=2)
        found = dict(results)
    whole = STOPPING.fit(X, starts())
    # Which restart is the best may be a matter of rounding.
    torch.testing.assert_close(found[0].restarts, whole.restarts, rtol=1e-9, atol=0)
    assert torch.equal(found[1].history, found[0].history)


def test_a_memory_map_is_read_in_blocks(tmp_path):
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float64, tuple(X.shape))
    mapped[:] = X.numpy()
    mapped.flush()
    options = {"checkpoint": tmp_path / "fit"}
    result = STOPPING.fit(np.load(tmp_path / "x.npy", mmap_mode="r"), starts(), **options)
    assert_identical(STOPPING.fit(X, starts(), **options), result)
