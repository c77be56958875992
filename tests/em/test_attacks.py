"""Fits that are killed, interrupted or damaged wherever it may be, and rows as bad as may be."""

import functools
import os
import random
import signal

import pytest
import torch
import torch.multiprocessing as mp

from pyro_ugmm.em import EMFitter, initialize, select
from tests.gloo import join, leave

from ..attacking import damaged, interrupted_after, interrupted_at, killed_after, timed
from .cases import STRUCTURE_NAMES, clusters, initialized, parameters
from .degenerate_rows import ROWS, SETTINGS, assert_ends_well

X = clusters(90)
FITTER = EMFitter(tol=0, max_iter=12, progress=False)
FEW = EMFitter(tol=0, max_iter=3, progress=False, group=False)
QUIET = {"seed": 0, "progress": False}


@functools.cache
def start(structure="full"):
    return initialized(X, 3, structure, n_init=2, seed=0, group=False)


def fit(path=None, structure="full", fitter=FITTER):
    return fitter.fit(X, start(structure), checkpoint=path, checkpoint_every=1)


def outcome(result):
    return [*parameters(result.mixture), result.history, result.restarts]


def assert_identical(result, other):
    for a, b in zip(outcome(result), outcome(other), strict=True):
        assert torch.equal(a, b)
    assert (result.status, result.reason) == (other.status, other.reason)
    assert result.events == other.events


@pytest.mark.parametrize("structure", ["full", "tied"])
def test_a_fit_that_is_killed_at_any_time_goes_on_bit_for_bit(structure, attacks, tmp_path):
    whole = fit(structure=structure)
    _, seconds = timed(lambda: fit(tmp_path / "timed", structure))
    for number in attacks(1):
        choose, path = random.Random(number), tmp_path / f"{number}"
        for _ in range(choose.randrange(1, 3)):
            killed_after(choose.random() * seconds, fit, path, structure)
        assert_identical(fit(path, structure), whole)
        assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


def test_a_checkpoint_that_is_damaged_anywhere_is_refused(attacks, tmp_path):
    path = tmp_path / "fit"
    whole = fit(path)
    written = path.read_bytes()
    for number in attacks(5):
        contents = damaged(written, number)
        path.write_bytes(contents)
        with pytest.raises(ValueError, match="checkpoint: expected a file that a run wrote"):
            fit(path)
        assert path.read_bytes() == contents
    path.write_bytes(written)
    assert_identical(fit(path), whole)


CALLS = {
    "fit": lambda path: fit(fitter=FEW),
    "fit with a file": lambda path: fit(path, fitter=FEW),
    "select": lambda path: select(X, [1, 2], fitter=FEW, **QUIET),
    "initialize": lambda path: initialize(X, 3, n_init=2, seed=0),
}
STRIKES = {
    "line": lambda share, lines, seconds, call: interrupted_at(int(share * lines) + 1, call)[0],
    "signal": lambda share, lines, seconds, call: interrupted_after(share * seconds, call),
}


def compared(found):
    """What can be compared, of whatever came out."""
    if hasattr(found, "table"):
        return [tensor for row in found.table for tensor in outcome(row.result)]
    return outcome(found) if hasattr(found, "history") else [*parameters(found)]


def modes():
    """What a fit must leave as it was."""
    handler = signal.getsignal(signal.SIGINT)
    validation = torch.distributions.Distribution._validate_args
    return handler, torch.is_grad_enabled(), torch.is_inference_mode_enabled(), validation


@pytest.mark.parametrize("strike", STRIKES)
@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_anywhere_leaves_all_as_it_was(name, strike, attacks, tmp_path):
    path, state = tmp_path / "fit", torch.get_rng_state()
    call, before = functools.partial(CALLS[name], path), modes()
    whole = compared(call())
    path.unlink(missing_ok=True)
    _, lines = interrupted_at(None, call)
    path.unlink(missing_ok=True)
    _, seconds = timed(call)
    for number in attacks(3):
        path.unlink(missing_ok=True)
        result = STRIKES[strike](random.Random(number).random(), lines, seconds, call)
        assert modes() == before and torch.equal(torch.get_rng_state(), state)
        assert result is None or all(t.isfinite().all() for t in compared(result)[:3])
        assert {*os.listdir(tmp_path)} <= {"fit"}
        again = compared(call())
        assert all(torch.equal(a, b) for a, b in zip(again, whole, strict=True))


def test_no_rows_that_are_drawn_make_it_raise(attacks):
    for number in attacks(20):
        choose = random.Random(number)
        torch.manual_seed(number)
        rows, n_features = choose.choice(ROWS), choose.randrange(1, 7)
        x = rows(torch.randn, n_features) * 10 ** choose.uniform(-10, 10)
        x = x.to(choose.choice([torch.float32, torch.float64]))
        settings = choose.choice([*SETTINGS])
        if n_features == 1 and settings == "missing":
            settings = "plain"
        structure = choose.choice(STRUCTURE_NAMES)
        assert_ends_well(x, structure, choose.randrange(100), **SETTINGS[settings])


class Faulty:
    """Blocks of rows, in the midst of which something goes wrong in a reading."""

    def __init__(self, fault, at):
        self.fault, self.at, self.count = fault, at, 0

    def __iter__(self):
        for block in X.split(15):
            self.count += 1
            yield self.fault(block) if self.count == self.at else block


def raised(error):
    def fault(block):
        raise error

    return fault


def struck(block):
    signal.raise_signal(signal.SIGINT)
    return block


FAULTS = {
    "NaN": lambda block: block * torch.nan,
    "an error": raised(OSError("the disk is gone")),
    "an interrupt": struck,
    "another kind": lambda block: "rows",
    "fewer features": lambda block: block[:, :2],
    "no memory": raised(MemoryError()),
}


def attempt(x):
    try:
        return EMFitter(tol=0, max_iter=5, progress=False).fit(x, start()).history.tolist()
    except ValueError as error:
        return str(error)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def choice(number):
    """Whose fault, which, and when."""
    choose = random.Random(number)
    return choose.randrange(2), choose.choice([*FAULTS]), choose.randrange(1, 37)


def _process(rank, file, numbers, results):
    join(rank, 2, file)
    try:
        for number in numbers:
            at_fault, fault, at = choice(number)
            rows = Faulty(FAULTS[fault], at if rank == at_fault else 0)
            results["faulty", rank, number] = attempt(rows)
            results["after", rank, number] = attempt(Faulty(None, 0))
    finally:
        leave()


def test_a_fault_of_one_process_is_an_error_of_both(attacks, tmp_path):
    numbers = attacks(6)
    with mp.get_context("forkserver").Manager() as manager:
        results = manager.dict()
        arguments = str(tmp_path / "meeting"), numbers, results
        mp.start_processes(_process, arguments, nprocs=2, start_method="forkserver")
        found = dict(results)
    for number in numbers:
        at_fault, fault, at = choice(number)
        first, second = (found["faulty", rank, number] for rank in (0, 1))
        assert first == second, (fault, at)
        if fault != "NaN" or at <= 6:  # NaN that comes after the first reading ends in a status
            assert isinstance(first, str) and f"(on rank {at_fault})" in first, (fault, at, first)
        first, second = (found["after", rank, number] for rank in (0, 1))
        assert first == second and len(first) == 5
