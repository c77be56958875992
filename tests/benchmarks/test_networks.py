"""The program that compares networks with other classifiers, at tiny sizes."""

import json
import math

import pytest
import torch

from tests.source_code import ROOT

if not (ROOT / "benchmarks").exists():
    pytest.skip("an installed package has no benchmarks", allow_module_level=True)
pytest.importorskip("sklearn")

from benchmarks.networks import __main__ as program
from benchmarks.networks import defaults, evidence
from benchmarks.networks.contenders import CONTENDERS, fit_network
from benchmarks.networks.data import DATA, Classes, Units, split
from benchmarks.networks.defaults import Recipe
from benchmarks.networks.measure import auc, scored
from benchmarks.networks.mlp import Perceptrons, hidden_units
from benchmarks.networks.settings import QUICK
from benchmarks.networks.strange import LEFT_OUT, strange_rows
from benchmarks.networks.studies import STUDIES
from benchmarks.networks.summaries import compared
from pyro_ugmm.models import Priors


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["networks", *map(str, arguments)])
    program.main()


@pytest.fixture
def digits():
    """Two hundred images of the digits to three."""
    rows = DATA["digits"]()
    return split(rows.taken((rows.y < 3).nonzero()[:200, 0]), 0)


def test_all_is_measured_and_written(monkeypatch, tmp_path):
    run(monkeypatch, "--quick", "--only", "iris", "--splits", 2, "--out", tmp_path)
    record = json.loads((tmp_path / "networks.json").read_text())
    for one in record["data"]["iris"]["splits"]:
        assert one.keys() == STUDIES.keys()
        for found in one["all rows"].values():
            assert math.isfinite(found["log_loss"]) and 0 <= found["accuracy"] <= 1
        assert all(0 <= found[LEFT_OUT] <= 1 for found in one[LEFT_OUT].values())
    text = (tmp_path / "networks.md").read_text()
    assert "| iris, 150 x 4, 3 classes |" in text and "nan" not in text.split()
    assert (tmp_path / "networks.png").stat().st_size


def test_what_was_measured_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(program, "STUDIES", {})
    monkeypatch.setattr(program, "report", lambda record: "")
    monkeypatch.setattr(program, "plot", lambda record, path: None)
    for name in ("wine", "iris"):
        run(monkeypatch, "--quick", "--only", name, "--splits", 2, "--out", tmp_path)
    assert [*json.loads((tmp_path / "networks.json").read_text())["data"]] == ["iris", "wine"]
    run(monkeypatch, "--quick", "--only", "iris", "--splits", 3, "--out", tmp_path)
    assert [*json.loads((tmp_path / "networks.json").read_text())["data"]] == ["iris"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--splits", 1], "--splits: expected at least 2, got 1"),
        (["--mnist", "an/empty/folder"], "--mnist: an/empty/folder is no folder"),
        (["--only", "mnist"], "--only mnist: needs --mnist FOLDER"),
    ],
)
def test_bad_options_end_it(monkeypatch, capsys, arguments, words):
    with pytest.raises(SystemExit):
        run(monkeypatch, *arguments)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("name", DATA)
def test_data_have_classes(name):
    rows = DATA[name]()
    assert rows.x.isfinite().all() and len(rows.x) == len(rows.y)
    assert (rows.y.bincount() > 1).all() and rows.n_classes == len(rows.y.unique())


@pytest.mark.parametrize("name", CONTENDERS)
def test_methods_give_probabilities(name):
    part = split(DATA["iris"](), 0)
    found = CONTENDERS[name](part.known, QUICK, 0)(part.units.standardized(part.test.x))
    assert found.shape == (len(part.test.y), 3)
    assert torch.allclose(found.sum(-1), torch.ones(len(found)), atol=1e-5)


def test_mlps_learn_and_have_as_many_parameters():
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    rows = Classes(x, (x[:, 0] * x[:, 1] > 0).long())
    mlps = Perceptrons(2, 20).fit(rows, 200, 50, 0)
    assert scored(mlps(x), rows.y)["accuracy"] > 0.9
    units = hidden_units(30, 2, 16)
    network, _ = fit_network(Classes(torch.randn(9, 30), torch.arange(9) % 2), QUICK, 0)
    assert sum(p.numel() for p in network.parameters()) == 3 * QUICK.hidden * 32
    assert abs(33 * units + 2 - 3 * 16 * 32) <= 33 / 2


def test_images_are_moved_as_is_said(digits):
    kinds = strange_rows(digits)
    images = digits.units.standardized(digits.test.x).reshape(-1, 8, 8)
    turned, shifted, inverted = (
        kinds[name].reshape(-1, 8, 8) for name in ("turned", "shifted", "inverted")
    )
    assert torch.equal(turned[:, 0], images[:, :, -1])
    assert torch.allclose(shifted[:, 2:, 2:], images[:, :-2, :-2])
    assert torch.allclose(inverted + images, (inverted + images)[0, 0, 0], atol=1e-5)
    assert torch.equal(kinds["permuted"].sort().values, images.flatten(1).sort().values)
    assert all(one.shape == digits.test.x.shape for one in kinds.values())


def test_measures():
    probabilities, y = torch.tensor([[0.9, 0.1], [1.0, 0.0]]), torch.tensor([0, 1])
    found = scored(probabilities, y)
    assert found["accuracy"] == 0.5
    assert found["log_loss"] == pytest.approx(-(math.log(0.9) + math.log(1e-6)) / 2, abs=1e-5)
    assert auc(torch.tensor([[0.9, 0.1]]), torch.tensor([[0.5, 0.5]])) == 1


def test_paired_differences():
    def made(*values):
        return {"splits": [{"s": {"a": one, "b": 0.5}} for one in values]}

    found = compared({"x": made(0.6, 0.7), "y": made(0.4, 0.4)}, "s", "a", "b")
    assert found.mean == pytest.approx(0.025) and found.error == pytest.approx(0.125)
    assert (found.above, found.below, found.count) == (1, 1, 2)
    assert compared({"x": made(0.6, 0.7)}, "s", "a", "b") is None


def test_units_are_those_of_the_rows_learned_from():
    x = torch.randn(40, 2) * 3 + 7
    assert torch.allclose(Units.of(Classes(x, x)).standardized(x).std(0), torch.ones(2))
    assert Units.of(Classes(x, x, 1)).center.dim() == 0


def test_priors_and_recipes_are_compared(monkeypatch, tmp_path):
    priors = {"default": Priors, "sparse": lambda: Priors(weights=0.5)}
    monkeypatch.setattr(evidence, "PRIORS", priors)
    arguments = ["evidence", "--quick", "--only", "penguins", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    evidence.main()
    monkeypatch.setattr("sys.argv", [*arguments, "--priors", "sparse"])
    evidence.main()
    text = (tmp_path / "networks_evidence.md").read_text()
    assert "| default | " in text and "| sparse | " in text
    monkeypatch.setattr(defaults, "RECIPES", {"floor": Recipe({"min_scale": 0.1}, 0.01)})
    monkeypatch.setattr("sys.argv", ["defaults", *arguments[1:]])
    defaults.main()
    text = (tmp_path / "networks_defaults.md").read_text()
    assert "Accuracy by SVI, data sets to choose on:" in text and "| floor | " in text
