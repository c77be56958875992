import os
import random
import signal
import subprocess
import sys
import time

import pyro.distributions as dist
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pyro_ugmm.guides import full_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_mle, fit_svi
from tests.models.mixtures import NOTHING, mixture, rows
from tests.models.networks import data

X = rows(60)
STEPS = 250


def fit(source, checkpoint=None, steps=STEPS, every=10):
    """A run in which everything that can be random is."""
    torch.manual_seed(3)
    model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(X, weights=None))
    guide = mean_field(model)
    x, batch_size = X, 16
    if source == "loader":
        x, batch_size = DataLoader(TensorDataset(X), batch_size=16, shuffle=True), None
    return fit_svi(
        model,
        guide,
        x,
        batch_size=batch_size,
        steps=steps,
        checkpoint=checkpoint,
        checkpoint_every=every,
        seed=None if source == "loader" else 0,
        progress=False,
    )


def outcome(result):
    return [result.losses, *(p.detach() for p in result.guide.parameters())]


PROGRAM = """
import sys, torch
torch.set_num_threads(1)
from tests.optimization.test_checkpoint import fit, outcome
torch.save(outcome(fit(sys.argv[1], sys.argv[2])), sys.argv[3])
"""


@pytest.mark.parametrize("source", ["tensor", "loader"])
def test_a_killed_process_resumes_on_the_same_trajectory(source, tmp_path):
    checkpoint, result = tmp_path / "run.pt", tmp_path / "result.pt"
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, source, checkpoint, result]
    seen = None
    for _ in range(2):
        process = subprocess.Popen(command)
        while process.poll() is None and (
            not checkpoint.exists() or checkpoint.read_bytes() == seen
        ):
            time.sleep(0.005)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        seen = checkpoint.read_bytes()
    assert not result.exists()
    subprocess.run(command, check=True)
    expected = outcome(fit(source))
    found = torch.load(result)
    assert len(found[0]) == STEPS
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
    again = outcome(fit(source, checkpoint))  # it has ended: the same call returns its outcome
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))


def loader_run(path=None, stop_after=None, monkeypatch=None):
    """A run over a loader whose generator is its own, that may be cut off."""
    torch.manual_seed(3)
    generator = torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(X), batch_size=16, shuffle=True, generator=generator)
    model = mixture(**NOTHING)
    if stop_after is not None:
        original, calls = model.row_terms, []

        def interrupted(*rows):
            calls.append(1)
            if len(calls) > stop_after:
                raise KeyboardInterrupt
            return original(*rows)

        monkeypatch.setattr(model, "row_terms", interrupted)
    result = fit_mle(
        model, loader, steps=30, checkpoint=path, checkpoint_every=7, seed=0, progress=False
    )
    return result.losses


def test_a_loader_with_its_own_generator_resumes_on_the_same_trajectory(monkeypatch, tmp_path):
    path = tmp_path / "run.pt"
    assert len(loader_run(path, 17, monkeypatch)) == 17
    assert torch.equal(loader_run(path), loader_run())


def test_a_damaged_checkpoint_is_an_error_and_stays(tmp_path):
    path = tmp_path / "run.pt"
    fit("tensor", path, steps=20)
    whole = path.read_bytes()
    for damaged in (b"", b"not a checkpoint", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"checkpoint: expected a file that a run wrote.*run"):
            fit("tensor", path, steps=20)
        assert path.read_bytes() == damaged
    torch.save({"something": torch.ones(3)}, path)
    with pytest.raises(ValueError, match="checkpoint: expected a file that a run wrote"):
        fit("tensor", path, steps=20)


def test_a_checkpoint_of_another_run_is_an_error_and_stays(tmp_path):
    path = tmp_path / "run.pt"
    fit("tensor", path, steps=20)
    whole = path.read_bytes()
    with pytest.raises(ValueError, match="checkpoint: expected one of this run, whose steps is 30"):
        fit("tensor", path, steps=30)
    with pytest.raises(ValueError, match="whose data is 60 rows of a DataLoader"):
        fit("loader", path, steps=20)
    with pytest.raises(ValueError, match="whose title is maximum likelihood"):
        fit_mle(mixture(**NOTHING), X, steps=20, checkpoint=path, progress=False)
    other = mixture("diagonal", 3)
    with pytest.raises(ValueError, match="whose parameters is"):
        fit_svi(other, mean_field(other), X, steps=20, checkpoint=path, progress=False)
    assert path.read_bytes() == whole and os.listdir(tmp_path) == ["run.pt"]


class _Varied(torch.utils.data.Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i] + random.random()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"priors": Priors.from_data(X, means=dist.Normal(0.0, 3.0))}, "priors is means=Normal"),
        ({"priors": Priors.from_data(X + 1)}, "priors is"),
        ({"seed": 1}, "seed is 1"),
        ({"num_particles": 2}, "num_particles is 2"),
        ({"missing": "marginalize"}, "model is BayesianGaussianMixture.*marginalize"),
        ({"guide": full_rank}, "parameters is|guide is AutoMultivariateNormal"),
        ({"x": TensorDataset(X + 1)}, "data is"),
        ({"x": DataLoader(TensorDataset(X + 1), 20)}, "data is"),
    ],
)
@pytest.mark.parametrize("of_loader", [False, True])
def test_a_checkpoint_of_other_priors_seeds_or_rows_is_refused(other, said, of_loader, tmp_path):
    path = tmp_path / "run.pt"

    def run(guide=mean_field, x=None, priors=None, missing="error", **kwargs):
        torch.manual_seed(0)
        priors = Priors.from_data(X) if priors is None else priors
        model = BayesianGaussianMixture(2, 2, priors=priors, missing=missing)
        own = DataLoader(TensorDataset(X), 20) if of_loader else X
        kwargs = {"steps": 3, "seed": 0, "progress": False, "checkpoint": path} | kwargs
        return fit_svi(model, guide(model), own if x is None else x, **kwargs).losses

    first = run()
    assert torch.equal(run(checkpoint_every=2), first)
    with pytest.raises(ValueError, match=f"checkpoint: expected one of this run, whose ({said})"):
        run(**other)


def test_a_checkpoint_of_another_network_model_is_refused(tmp_path):
    x, y = data()
    joint = {"n_classes": 3}

    def run(kind, dropout=0.0, **arguments):
        sizes = [2, 6, 3] if kind is UGMMClassifier else [3, 6, 1]
        model = kind(UGMMNetwork(sizes, dropout), **arguments)
        path = tmp_path / f"{kind.__name__}.pt"
        return fit_mle(model, x, y, steps=3, checkpoint=path, progress=False, seed=0)

    run(UGMMDensity, **joint)
    with pytest.raises(ValueError, match=r"whose model is UGMMDensity.*score"):
        run(UGMMDensity, objective="score", **joint)
    run(UGMMClassifier)
    with pytest.raises(ValueError, match="whose model is UGMMClassifier"):
        run(UGMMClassifier, dropout=0.5)


@pytest.mark.parametrize("x", [_Varied(), X.bfloat16(), X.clone().requires_grad_()])
def test_a_checkpoint_of_rows_of_any_kind(x, tmp_path):
    def run():
        torch.manual_seed(0)
        kwargs = {"steps": 3, "checkpoint": tmp_path / "run.pt", "progress": False, "seed": 0}
        if isinstance(x, _Varied):
            return fit_mle(mixture(**NOTHING), DataLoader(x, 10), **kwargs).losses
        model = UGMMClassifier(UGMMNetwork([2, 3], dtype=x.dtype))
        return fit_mle(model, x, torch.arange(len(x)) % 3, **kwargs).losses

    assert torch.equal(run(), run())


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="checkpoint: expected a file in a folder that exists"):
        fit("tensor", tmp_path / "nowhere" / "run.pt")
    with pytest.raises(ValueError, match="checkpoint_every: expected a positive integer"):
        fit("tensor", tmp_path / "run.pt", every=0)
