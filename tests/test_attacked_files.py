"""Files that are damaged anywhere: refused in words, or read as numbers that are sound."""

import os
import random
import signal

import pytest
import torch

from pyro_ugmm.distributions import GaussianMixture
from pyro_ugmm.files import write_atomically
from pyro_ugmm.saving import load_fitted

from .attacking import damaged, interrupted_after, killed_after
from .distributions.mixtures import by_structure, random_mixture
from .saving.cases import MODELS, saved


@pytest.mark.parametrize("model", MODELS)
def test_a_fitted_model_that_is_damaged_anywhere(model, attacks, tmp_path):
    path = tmp_path / "fitted.safetensors"
    saved(path, model)
    written = path.read_bytes()
    for number in attacks(10):
        path.write_bytes(damaged(written, number))
        with pytest.raises(ValueError, match=f"path: expected .*{path}"):
            load_fitted(path)


@by_structure
def test_a_mixture_that_is_damaged_anywhere(structure, attacks, tmp_path):
    path = tmp_path / "mixture.safetensors"
    mixture, _ = random_mixture(structure)
    x = torch.randn(5, mixture.n_features, dtype=mixture.means.dtype)
    mixture.save(path)
    written = path.read_bytes()
    for number in attacks(10):
        path.write_bytes(damaged(written, number))
        try:
            again = GaussianMixture.load(path)
        except ValueError as error:
            refused = str(error)
            assert refused.startswith("path: expected") and str(path) in refused
        else:  # a number that is another one cannot be told
            assert not again.log_prob(x).isnan().any()


def write_on(path):
    """Writes one after another file, each of one byte many times."""
    number = 0
    while True:
        number = (number + 1) % 256
        write_atomically(path, bytes([number]) * 10_000)


def test_a_writer_that_is_killed_leaves_a_whole_file(attacks, tmp_path):
    path = tmp_path / "file"
    write_atomically(path, bytes(10_000))
    for number in attacks(2):
        killed_after(0.05 * random.Random(number).random(), write_on, path)
        contents = path.read_bytes()
        assert len(contents) == 10_000 and len({*contents}) == 1
        write_atomically(path, contents)
        assert os.listdir(tmp_path) == ["file"]


def test_a_writer_that_is_interrupted_leaves_nothing_else(attacks, tmp_path):
    path = tmp_path / "file"
    before = signal.getsignal(signal.SIGALRM)
    for number in attacks(5):
        seconds = 0.002 * random.Random(number).random()
        interrupted_after(seconds, lambda: write_on(path))
        assert {*os.listdir(tmp_path)} <= {"file"}
        if path.exists():
            assert len({*path.read_bytes()}) == 1 and path.stat().st_size == 10_000
    assert signal.getsignal(signal.SIGALRM) == before and torch.is_grad_enabled()
