"""A checkpoint is whole, or refused."""

import errno
import math
import os

import pytest
import torch

from pyro_ugmm.checkpoint import Checkpoint
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.training import fit_svi

X = torch.randn(20, 1, generator=torch.Generator().manual_seed(0))
REFUSED = r"checkpoint: expected a file that a run wrote, got .*; give another path, or delete"


def run(path, steps=4, **kwargs):
    torch.manual_seed(0)
    model = BayesianGaussianMixture(1, 1, "diagonal", Priors(variances=None))
    arguments = {"batch_size": 7, "seed": 0, "progress": False, "checkpoint_every": 2} | kwargs
    return fit_svi(model, mean_field(model), X, steps=steps, checkpoint=path, **arguments).losses


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "run.pt"
    run(path)
    return path


def test_every_flipped_bit_and_every_cut_is_noticed(written):
    whole = written.read_bytes()
    damaged = [whole[:cut] for cut in range(0, len(whole), 997)]
    for place in range(0, len(whole), 211):
        bit = bytes([whole[place] ^ (1 << place % 8)])
        damaged.append(whole[:place] + bit + whole[place + 1 :])
    damaged += [whole + b"\0", whole[1:], b"", b"nothing"]
    checkpoint = Checkpoint(written, 1)
    for contents in damaged:
        written.write_bytes(contents)
        with pytest.raises(ValueError, match=REFUSED):
            checkpoint.load({})
        assert written.read_bytes() == contents
    with pytest.raises(ValueError, match=REFUSED):
        run(written)
    written.write_bytes(whole)
    run(written)


def without(*names):
    def change(state):
        for name in names[:-1]:
            state = state[name]
        del state[names[-1]]

    return change


def put(value, *names):
    def change(state):
        for name in names[:-1]:
            state = state[name]
        old = state[names[-1]]
        state[names[-1]] = value(old) if callable(value) else value

    return change


def with_nan(tensor):
    return torch.full_like(tensor, math.nan)


CHANGES = [
    *(without(name) for name in ("optimizer", "rule", "losses", "batches", "random")),
    *(without("optimizer", name) for name in ("parameters", "moments")),
    *(without("rule", name) for name in ("done", "origin", "sums", "squares")),
    without("optimizer", "parameters", 0),
    without("optimizer", "moments", 0),
    without("optimizer", "moments", 0, 1),
    without("rule", "sums", 0, 0),
    without("batches", "order"),
    without("random", 0, "torch"),
    without("random", 0, "numpy"),
    put(with_nan, "optimizer", "parameters", 0),
    put(lambda t: t[..., :0], "optimizer", "parameters", 0),
    put(lambda t: t.sum(), "optimizer", "parameters", 0),
    put(lambda t: t.unsqueeze(0), "optimizer", "parameters", 0),
    put(lambda t: t.double(), "optimizer", "parameters", 0),
    put(lambda t: t.tolist(), "optimizer", "parameters", 0),
    put(lambda t: t[..., :0], "optimizer", "moments", 0, 1),
    put(lambda t: torch.zeros(5), "losses"),
    put(None, "losses"),
    put(lambda t: t[:3], "random", 0, "torch"),
    put("much", "rule", "done"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_missing_or_of_another_form_is_refused(change, written):
    contents = torch.load(written, weights_only=True)
    change(contents["state"])
    torch.save(contents, written)  # without a checksum
    with pytest.raises(ValueError, match=REFUSED):
        run(written)
    Checkpoint(written, 1).save(contents["run"], contents["state"])  # with one
    with pytest.raises(ValueError, match=REFUSED):
        run(written)


@pytest.mark.parametrize("name", ["format", "run", "state"])
def test_a_file_without_a_part_is_refused(name, written, monkeypatch):
    original = torch.save
    contents = torch.load(written, weights_only=True)

    def save(whole, buffer):
        original({key: value for key, value in contents.items() if key != name}, buffer)

    monkeypatch.setattr(torch, "save", save)
    Checkpoint(written, 1).save({}, {})
    with pytest.raises(ValueError, match=REFUSED):
        run(written)


def test_a_file_that_cannot_be_written_is_said_at_the_start(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match=r"checkpoint: expected a file that can be.*No space left"):
        run(tmp_path / "run.pt")
    assert not os.listdir(tmp_path)


def test_a_disk_that_fills_up_later_does_not_end_the_run(tmp_path, monkeypatch):
    path, fsync, calls = tmp_path / "run.pt", os.fsync, []

    def filling(*args):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return fsync(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", filling)
        with pytest.warns(UserWarning, match=r"checkpoint: .*run.pt was not written \(No space"):
            losses = run(path)
    assert len(losses) == 4 and torch.equal(run(path), losses)


def test_a_file_is_as_large_at_the_start_as_later(tmp_path, monkeypatch):
    sizes, write = [], Checkpoint.save

    def save(self, *args):
        write(self, *args)
        sizes.append(self.path.stat().st_size)

    monkeypatch.setattr(Checkpoint, "save", save)
    run(tmp_path / "run.pt", steps=10)
    assert len(sizes) == 6 and sizes[-1] < 1.05 * sizes[0]
