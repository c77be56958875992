"""The benchmark of a step of training, at a tiny size."""

import json
import sys

import pytest

step = pytest.importorskip("benchmarks.layer.step", reason="an installed package has none")


def test_it_writes_what_it_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(step.torch, "set_num_threads", lambda number: None)
    monkeypatch.setattr(sys, "argv", ["step", "--quick", "--threads", "1", "--out", str(tmp_path)])
    step.main()
    record = json.loads((tmp_path / "step.json").read_text())
    (found,) = record["rows"].values()
    assert {*found} == {"network", "MLP", "exponentials alone"} and min(found.values()) > 0
    assert (tmp_path / "step.md").read_text() in capsys.readouterr().out


def test_both_have_as_many_parameters():
    network = step.UGMMNetwork(step.SIZES)
    counts = [sum(p.numel() for p in one.parameters()) for one in (network, step.mlp())]
    assert counts[1] == pytest.approx(counts[0], rel=0.03)
