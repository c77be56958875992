"""Bars are drawn where somebody watches, and fill no logs."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from pyro_ugmm import progress_bars
from pyro_ugmm.progress_bars import progress_bar

LONG_WORK = """
from pyro_ugmm import progress_bars

progress_bars._DELAY_SECONDS = 0
import torch

from pyro_ugmm.em import EMFitter, fit_groups, initialize, select
from pyro_ugmm.models import BayesianGaussianMixture, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.training import fit_mle

x = torch.randn(60, 1)
EMFitter(progress=True).fit(x, initialize(x, 2, seed=0))
select(x, n_components=[1, 2], seed=0, progress=True)
fit_groups(x, torch.arange(60) % 3, 1, progress=True)
classes = (x[:, 0] > 0).long()
fit_mle(UGMMClassifier(UGMMNetwork([1, 2])), x, classes, steps=20, progress=True)
sample_posterior(BayesianGaussianMixture(1, 1), x, num_particles=8, progress=True)
"""


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "shown", "is_drawn"),
    [
        (_Terminal(), True, True),
        (_Terminal(), False, False),
        (io.StringIO(), True, False),
        (None, True, False),  # as under pythonw
    ],
)
def test_bars_are_drawn_in_a_terminal(monkeypatch, stream, shown, is_drawn):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress_bars, "_DELAY_SECONDS", 0)
    assert [*progress_bar(range(3), shown=shown, desc="work")] == [0, 1, 2]
    assert (stream is not None and "work" in stream.getvalue()) == is_drawn


def test_bars_are_drawn_in_a_notebook(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress_bars, "_DELAY_SECONDS", 0)
    monkeypatch.setattr(progress_bars, "_IS_NOTEBOOK", True)
    assert [*progress_bar(range(3), shown=True, desc="work")] == [0, 1, 2]
    assert "work" in stream.getvalue()


def test_a_log_holds_no_bars():
    run = subprocess.run([sys.executable, "-c", LONG_WORK], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "%|" not in run.stderr
    assert "temperatures" not in run.stderr


def test_nothing_draws_bars_of_its_own():
    package = Path(progress_bars.__file__).parent
    users = [path.name for path in package.rglob("*.py") if "import tqdm" in path.read_text()]
    assert users == ["progress_bars.py"]
