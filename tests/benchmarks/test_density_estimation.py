"""The program that compares densities of real data by rows left out, at tiny sizes."""

import json
import math

import pytest
import torch
from scipy.stats import multivariate_t

from tests.source_code import ROOT

if not (ROOT / "benchmarks").exists():
    pytest.skip("an installed package has no benchmarks", allow_module_level=True)
pytest.importorskip("sklearn")

from benchmarks.density_estimation import __main__ as program
from benchmarks.density_estimation.contenders import (
    BASELINE,
    CONTENDERS,
    OURS,
    PRODUCTS,
    is_missing,
)
from benchmarks.density_estimation.data import DATA, VARIANTS, split
from benchmarks.density_estimation.measure import measured, scored
from benchmarks.density_estimation.predictive import PredictiveDensity
from benchmarks.density_estimation.report import report
from benchmarks.density_estimation.search import Candidate, Search, Settings

ONE_COMPONENT = Settings(range(1, 2), (1,), (1,), (1,), 2, 1, 20, 1e-6)


class Fixed:
    """A density with known values."""

    def __init__(self, *values):
        self.values = torch.tensor(values)

    def log_prob(self, x):
        return self.values


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["density_estimation", *map(str, arguments)])
    program.main()


def test_all_is_measured_and_written(monkeypatch, tmp_path):
    run(monkeypatch, "--quick", "--data", "iris", "--splits", 2, "--out", tmp_path)
    record = json.loads((tmp_path / "density_estimation.json").read_text())
    text = (tmp_path / "density_estimation.md").read_text()
    assert record["methods"] == [name for name in CONTENDERS if not is_missing(name)]
    for runs in record["sections"].values():
        for one in runs["iris"]["splits"]:
            assert all(math.isfinite(found["mean"]) for found in one["methods"].values())
    assert all(f"| iris, {name} |" in text for name in record["methods"])
    assert "nan" not in text.split() and "| none |" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--splits", 0], "--splits: expected at least 1, got 0"),
        (["--reg-covar", "nan"], "--reg-covar: expected a number of at least 0, got nan"),
        (["--mnist", "an/empty/folder"], "--mnist: an/empty/folder is no folder"),
    ],
)
def test_bad_options_end_it(monkeypatch, capsys, arguments, words):
    with pytest.raises(SystemExit):
        run(monkeypatch, *arguments)
    assert words in capsys.readouterr().err


def test_a_later_run_is_put_beside_an_earlier_one(monkeypatch, tmp_path):
    options = ["--quick", "--data", "iris", "--splits", 2, "--out", tmp_path]
    path = tmp_path / "density_estimation.json"
    run(monkeypatch, *options, "--only", OURS)
    before = json.loads(path.read_text())
    run(monkeypatch, *options, "--only", PRODUCTS, "--keep")
    after = json.loads(path.read_text())
    assert after["methods"] == [BASELINE, OURS, PRODUCTS]
    assert after["measured_later"] == [PRODUCTS]
    for variant, runs in after["sections"].items():
        old = before["sections"][variant]["iris"]["splits"]
        for one, was in zip(runs["iris"]["splits"], old, strict=True):
            assert math.isfinite(one["methods"].pop(PRODUCTS)["mean"]) and one == was
    assert "UGMMMixture came later" in (tmp_path / "density_estimation.md").read_text()
    before["sections"]["shipped"]["iris"]["splits"][0]["methods"][BASELINE]["mean"] += 1
    path.write_text(json.dumps(before))
    with pytest.raises(ValueError, match="keep: scikit-learn came to"):
        run(monkeypatch, *options, "--only", PRODUCTS, "--keep")
    with pytest.raises(ValueError, match="keep: expected a record of the same data"):
        run(monkeypatch, *options, "--only", PRODUCTS, "--keep", "--rows", "shipped")


def test_one_component_is_the_same_density_to_all():
    found = measured(split(DATA["wine"](), 0), ONE_COMPONENT, [BASELINE, OURS])
    for structure, one in found["structures"][OURS].items():
        assert one["mean"] == pytest.approx(found["structures"][BASELINE][structure]["mean"])


def test_rows_without_a_density_and_fits_that_fail_are_counted():
    held_out = torch.zeros(3, 1)
    broken = Candidate(Fixed(-1.0, -math.inf, math.nan), 1, "full", converged=False)
    found = scored(Search([broken], ["full 2: singular"]), broken, held_out, ONE_COMPONENT)
    assert found["mean"] is None and found["n_infinite"] == 2
    nothing = scored(Search([], ["full 1: singular"]), None, held_out, ONE_COMPONENT)
    splits = [
        {"n_dropped": 0, "structures": {}, "methods": {BASELINE: one | {"seconds": 1.0}}}
        for one in (found, nothing)
    ]
    runs = {"iris": {"n_rows": 15, "n_features": 1, "splits": splits}}
    record = {"methods": [BASELINE], "n_splits": 2, "settings": ONE_COMPONENT._asdict()}
    text = report(record | {"sections": {"shipped": runs}})
    words = "1 splits without a fit, 2 rows without a finite density, 2 fits failed, 1 chosen"
    assert f"| none | full: 1 (1) | 1.00 | {words} not converged |" in text


def test_sound_fits_come_first():
    fits = [(3.0, False), (1.0, True), (2.0, False)]
    ones = [Candidate(Fixed(), 1, "full", True, bic=bic, unsound=bad) for bic, bad in fits]
    assert Search(ones).best() is ones[2]
    assert Search(ones).best("tied") is None


def test_the_predictive_density_is_a_mixture_of_t():
    generator = torch.Generator().manual_seed(0)
    roots = torch.randn(2, 3, 3, dtype=torch.float64, generator=generator)
    covariances = roots @ roots.mT + torch.eye(3)
    weights, means = torch.tensor([0.3, 0.7]).double(), roots[:, 0]
    precision, degrees = torch.tensor([2.0, 5.0]).double(), torch.tensor([4.0, 9.0]).double()
    x = torch.randn(7, 3, dtype=torch.float64, generator=generator)
    expected = torch.zeros(7, dtype=torch.float64)
    for k in range(2):
        left = degrees[k] - 2
        shape = (precision[k] + 1) / (precision[k] * left) * degrees[k] * covariances[k]
        theirs = multivariate_t(means[k].numpy(), shape.numpy(), df=float(left))
        expected += weights[k] * torch.as_tensor(theirs.pdf(x.numpy()))
    density = PredictiveDensity(weights, means, precision, degrees, covariances)
    assert torch.allclose(density.log_prob(x), expected.log(), rtol=1e-10)


def test_dequantized_rows_have_no_ties():
    x = torch.tensor([[0.1, 5.0], [0.2, 5.0], [0.2, 5.0], [0.5, 5.0]], dtype=torch.float64)
    found = VARIANTS["dequantized"](x)
    assert len(found[:, 0].unique()) == 4
    assert ((found - x)[:, 0].abs() <= 0.05).all()
    assert torch.equal(found[:, 1], x[:, 1])


def test_splits_are_in_units_of_the_training_part():
    x = torch.cat([torch.randn(50, 2).double() * 3 + 7, torch.ones(50, 1)], 1)
    part = split(x, 1)
    assert part.train.shape == (40, 2) and part.held_out.shape == (10, 2) and part.n_dropped == 1
    assert torch.allclose(part.train.std(0), torch.ones(2).double())
    assert not torch.equal(part.train, split(x, 2).train)
