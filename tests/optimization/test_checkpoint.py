import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.training import fit_mle, fit_svi
from tests.models.test_gaussian_mixture import NOTHING, mixture, rows

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


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="checkpoint: expected a file in a folder that exists"):
        fit("tensor", tmp_path / "nowhere" / "run.pt")
    with pytest.raises(ValueError, match="checkpoint_every: expected a positive integer"):
        fit("tensor", tmp_path / "run.pt", every=0)
