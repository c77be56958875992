"""The program that compares regressions by held-out rows, at tiny sizes."""

import json
import math

import pytest
import torch

from tests.source_code import ROOT

if not (ROOT / "benchmarks").exists():
    pytest.skip("an installed package has no benchmarks", allow_module_level=True)
pytest.importorskip("sklearn")

from benchmarks.regression import __main__ as program
from benchmarks.regression.contenders import CONTENDERS, SAMPLED
from benchmarks.regression.data import DATA, Split, split

TINY = program.SETTINGS._replace(quick=True)


def test_all_is_measured_and_written(monkeypatch, tmp_path):
    methods = [method for method in CONTENDERS if method != SAMPLED]
    arguments = ["--quick", "--data", "diabetes", "--splits", "2", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["regression", *arguments, "--only", *methods])
    program.main()
    record = json.loads((tmp_path / "regression.json").read_text())
    text = (tmp_path / "regression.md").read_text()
    assert record["methods"] == methods and "| diabetes, 442 x 10 |" in text
    assert "nan" not in text.split()
    for one in record["data"]["diabetes"]["splits"]:
        assert all(math.isfinite(v) for found in one.values() for v in found.values())


def test_bad_options_end_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["regression", "--splits", "0"])
    with pytest.raises(SystemExit):
        program.main()
    assert "--splits: expected at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["gradient boosting", "linear"])
def test_intervals_and_scores_of_a_line_with_normal_noise(method):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 1, generator=generator)
    y = x[:, 0] + 0.5 * torch.randn(2000, generator=generator)
    found = program.scored(method, Split(x[:1000], y[:1000], x[1000:], y[1000:]), TINY)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.25)
    assert found["log_score"] == pytest.approx(-entropy, abs=0.15)
    assert found["coverage"] == pytest.approx(0.9, abs=0.1)
    assert found["width"] == pytest.approx(2 * 1.645 * 0.5, rel=0.2)


@pytest.mark.parametrize("name", DATA)
def test_targets_are_continuous_and_in_units_of_the_training_part(name):
    x, y = DATA[name]()
    assert len(y.unique()) == len(y) == len(x)
    part = split(x, y, 0)
    torch.testing.assert_close(part.y.std(), torch.tensor(1.0))
    torch.testing.assert_close(part.y.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    assert len(part.y_held_out) == round(0.2 * len(x)) == len(part.x_held_out)
