"""The program that compares densities of images, on a few rows."""

import math

import pytest
import torch

from tests.source_code import ROOT

if not (ROOT / "benchmarks").exists():
    pytest.skip("an installed package has no benchmarks", allow_module_level=True)

from benchmarks.density_estimation.images import CONTENDERS, FLOORS, measured, report


def test_each_method_is_measured_and_one_size_chosen():
    x = 50 * torch.randn(90, 20, generator=torch.Generator().manual_seed(0))
    fits = measured((x[:60], x[60:75], x[75:]), 1)
    assert len(fits) == len(CONTENDERS) * len(FLOORS)
    assert all(math.isfinite(one["mean"]) for one in fits)
    counts = {"n_train": 60, "n_choice": 15, "n_held_out": 15, "n_features": 20, "threads": 1}
    text = report(counts | {"fits": fits})
    assert text.count(", chosen |") == len(CONTENDERS)
    best = max((one for one in fits if one["method"] == "low rank"), key=lambda one: one["choice"])
    assert f"| low rank, 10 x 8, chosen | {best['reg_covar']:g} |" in text
