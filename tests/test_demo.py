"""The demo on tables of users' own."""

import numpy as np
import pandas
import pytest
import torch

from pyro_ugmm.demo.__main__ import main
from pyro_ugmm.demo.table import read_table


def frame(n=60):
    """Two kinds of rows, in features of different units, with gaps, words and a constant."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 3)) + 4 * kind[:, None] * np.array([1, 1, 0])
    table = pandas.DataFrame(x * [1, 1e4, 1e-3], columns=["length", "weight", "width"])
    table.loc[:3, "width"] = np.nan
    return table.assign(
        name=[f"row {i}" for i in range(n)],
        number=np.arange(n) + 7,
        one=1.0,
        old=kind == 1,
        kind=np.array(["b", "a"])[kind],
        price=50 + 10 * x[:, 0] + rng.normal(size=n),
    )


def written(tmp_path, table):
    path = tmp_path / "mine.csv"
    table.to_csv(path, index=False)
    return path


def test_a_table_is_read_as_it_is_meant(tmp_path):
    table = frame()
    table.loc[5, "kind"] = None
    read = read_table(written(tmp_path, table), "kind")
    assert read.feature_names == ["length", "weight", "width", "old", "price"]
    assert read.class_names == ["a", "b"] and read.x.shape == (59, 5)
    expected = (table["kind"].dropna() == "b").to_numpy()
    assert torch.equal(read.y, torch.tensor(expected).long())
    assert read.missing == "marginalize"
    said = str(read)
    for words in (
        "mine.csv: 59 rows, 5 features",
        "name, number, one",
        "no target: 1 rows",
        "missing: 4 of",
    ):
        assert words in said
    assert read_table(written(tmp_path, table), "price").class_names == []
    assert read_table(written(tmp_path, table), "old").class_names == ["False", "True"]
    counted = table.assign(count=np.arange(60) % 3)
    assert read_table(written(tmp_path, counted), "count").class_names == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("change", "target", "words"),
    [
        (lambda t: t, "nothing", "--target: expected a column of"),
        (
            lambda t: t,
            "name",
            "--target: expected a column of 2 to 20 classes, or of numbers, got 60",
        ),
        (lambda t: t, "one", "--target: expected a column of 2 to 20 classes"),
        (lambda t: t[:9], "kind", "--data: expected at least 20 rows with a target, got 9"),
        (lambda t: t[["name", "kind"]], "kind", "--data: expected at least two columns of numbers"),
        (lambda t: t[["length", "kind"]], "kind", "--data: expected at least two columns of num"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, capsys, change, target, words):
    path = written(tmp_path, change(frame()))
    with pytest.raises(SystemExit):
        main(["--data", str(path), "--target", target, "--out", str(tmp_path / "out")])
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nonsense"], "unrecognized arguments"),
        (["--data", "gone.csv"], "--data and --target go together"),
        (["--data", "gone.csv", "--target", "y"], "--data: expected a file"),
    ],
)
def test_bad_arguments(arguments, words, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("target", "picture"), [("kind", "uncertainty"), ("price", "regression")])
def test_it_runs_on_a_table_of_ones_own(tmp_path, capsys, target, picture):
    path = written(tmp_path, frame().drop(columns=["old"]))
    main(["--data", str(path), "--target", target, "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert f"that predicts {target}" in said and "log evidence" in said
    assert {"mine.nc", f"{picture}.png"} < {one.name for one in (tmp_path / "out").iterdir()}


def with_gaps_in_all_rows():
    table = frame()[["length", "weight", "width", "kind"]]
    for row in range(len(table)):
        table.iloc[row, row % 3] = np.nan
    return table


def with_columns_that_say_the_same():
    table = frame()[["length", "kind"]]
    return table.assign(inches=table["length"] / 2.54)


@pytest.mark.parametrize("make", [with_gaps_in_all_rows, with_columns_that_say_the_same])
def test_it_runs_on_awkward_tables(tmp_path, capsys, make):
    path = written(tmp_path, make())
    main(["--data", str(path), "--target", "kind", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "log evidence" in said and "SVI took" in said
    assert len([*(tmp_path / "out").glob("*.png")]) == 5
