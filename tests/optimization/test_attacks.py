"""Runs that are killed or interrupted wherever it may be, and checkpoints damaged wherever."""

import functools
import os
import random

import pyro
import pytest
import torch
from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK

from pyro_ugmm.checkpoint import Checkpoint
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import FitResult, fit_mle, fit_svi

from ..attacking import damaged, interrupted_after, interrupted_at, killed_after, timed

X = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
Y = torch.arange(30) % 3
STEPS = 12
ARGUMENTS = {"steps": STEPS, "batch_size": 10, "seed": 0, "progress": False, "checkpoint_every": 2}


def mle_parts():
    torch.manual_seed(0)
    return (UGMMClassifier(UGMMNetwork([2, 4, 3], dropout=0.2)),)


def svi_parts():
    torch.manual_seed(0)
    model = UGMMClassifier(UGMMNetwork([2, 4, 3], dropout=0.2), Priors())
    return model, mean_field(model)


KINDS = {"mle": (fit_mle, mle_parts), "svi": (fit_svi, svi_parts)}
of_each_kind = pytest.mark.parametrize("kind", KINDS)


def run(kind, path=None, parts=None, **kwargs):
    fit, make = KINDS[kind]
    return fit(*(parts or make()), X, Y, checkpoint=path, **ARGUMENTS | kwargs)


def outcome(parts, result):
    return [result.losses, *(p.detach().clone() for p in parts[-1].parameters())]


@functools.cache
def whole(kind):
    """What a run comes to, and how long it takes."""
    parts = KINDS[kind][1]()
    run(kind)
    result, seconds = timed(lambda: run(kind, parts=parts))
    return outcome(parts, result), seconds


def assert_whole(kind, path=None):
    parts = KINDS[kind][1]()
    found = outcome(parts, run(kind, path, parts))
    assert all(torch.equal(a, b) for a, b in zip(found, whole(kind)[0], strict=True))


def settings():
    """What a run must leave as it was."""
    return {
        "handlers": list(_PYRO_STACK),
        "plates": list(_DIM_ALLOCATOR._stack),
        "pyro": pyro.settings.get(),
        "validation": torch.distributions.Distribution._validate_args,
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "random": torch.get_rng_state().tolist(),
    }


@of_each_kind
def test_a_run_that_is_killed_at_any_time_goes_on_bit_for_bit(kind, attacks, tmp_path):
    seconds = 2 * whole(kind)[1]  # checkpoints take time
    for number in attacks(1):
        choose, path = random.Random(number), tmp_path / f"{number}.pt"
        for _ in range(choose.randrange(1, 3)):
            killed_after(choose.random() * seconds, run, kind, path)
        assert_whole(kind, path)
        assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


def struck(strike, kind, path, parts, before):
    torch.manual_seed(0)
    modes = [part.training for part in parts[0].modules()]
    result = strike(lambda: run(kind, path, parts, steps=3))
    assert settings() == before
    assert [part.training for part in parts[0].modules()] == modes
    assert result is None or isinstance(result, FitResult)
    assert all(p.isfinite().all() for one in parts for p in one.parameters())
    assert run(kind, parts=parts, steps=2).losses.isfinite().all()
    assert settings() == before
    if path is not None:
        assert {*os.listdir(path.parent)} <= {path.name}


@of_each_kind
@pytest.mark.parametrize("with_file", [False, True])
def test_an_interrupt_at_any_line_leaves_all_as_it_was(kind, with_file, attacks, tmp_path):
    path = tmp_path / "run.pt" if with_file else None
    before = settings()
    _, lines = interrupted_at(None, lambda: run(kind, path, steps=3))
    for number in attacks(3):
        if with_file:
            path.unlink(missing_ok=True)
        line = random.Random(number).randrange(1, lines)
        parts = KINDS[kind][1]()
        struck(lambda call, line=line: interrupted_at(line, call)[0], kind, path, parts, before)
    expected, found = (run(kind, steps=3).losses, run(kind, path, steps=3).losses)
    assert torch.equal(found, expected)


@of_each_kind
def test_a_signal_at_any_time_leaves_all_as_it_was(kind, attacks, tmp_path):
    path = tmp_path / "run.pt"
    before = settings()
    _, seconds = timed(lambda: run(kind, path, steps=3))
    for number in attacks(3):
        path.unlink(missing_ok=True)
        after = random.Random(number).random() * seconds
        parts = KINDS[kind][1]()
        struck(lambda call, after=after: interrupted_after(after, call), kind, path, parts, before)
    assert torch.equal(run(kind, path, steps=3).losses, run(kind, steps=3).losses)


@of_each_kind
def test_a_checkpoint_that_is_damaged_anywhere_is_refused(kind, attacks, tmp_path):
    path = tmp_path / "run.pt"
    run(kind, path)
    written = path.read_bytes()
    for number in attacks(5):
        contents = damaged(written, number)
        path.write_bytes(contents)
        with pytest.raises(ValueError, match=r"checkpoint: expected a file that a run wrote"):
            run(kind, path)
        assert path.read_bytes() == contents
    path.write_bytes(written)
    assert_whole(kind, path)


def flat(state, at=()):
    """All values in a nest of dictionaries and lists, and where they are."""
    pairs = state.items() if isinstance(state, dict) else enumerate(state)
    for name, value in pairs:
        yield (*at, name), value
        if isinstance(value, dict | list):
            yield from flat(value, (*at, name))


def wrong(value, choose):
    """A value of another form in the place of one."""
    if isinstance(value, torch.Tensor):
        others = [None, value[None], value.tolist(), value.to(torch.complex64)]
    else:
        others = ["much", torch.zeros(3), [] if isinstance(value, dict) else {}]
    return choose.choice(others)


@of_each_kind
def test_a_checkpoint_with_any_field_of_another_form_is_refused(kind, attacks, tmp_path):
    path = tmp_path / "run.pt"
    run(kind, path, steps=4)
    written = path.read_bytes()
    for number in attacks(5):
        choose = random.Random(number)
        path.write_bytes(written)
        contents = torch.load(path, weights_only=True)
        (*outer, last), value = choose.choice([*flat(contents["state"])])
        part = functools.reduce(lambda one, name: one[name], outer, contents["state"])
        part[last] = wrong(value, choose)
        Checkpoint(path, 1).save(contents["run"], contents["state"])
        with pytest.raises(ValueError, match="checkpoint: expected a file that a run wrote"):
            run(kind, path, steps=4)
