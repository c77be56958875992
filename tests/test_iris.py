"""The main job: the accuracy that the README promises, and the demo as a whole."""

import pytest
from sklearn.model_selection import StratifiedKFold

from pyro_ugmm.datasets import iris
from pyro_ugmm.demo import train_both
from pyro_ugmm.demo.__main__ import main
from pyro_ugmm.diagnostics import class_probabilities


def test_held_out_accuracy():
    """Stratified 5-fold, 3 seeds; ``make bench-iris`` reports the figures in full."""
    data = iris()
    right = {"maximum likelihood": 0, "SVI": 0}
    for seed in range(3):
        folds = StratifiedKFold(5, shuffle=True, random_state=seed).split(data.x, data.y)
        for train, test in folds:
            x = (data.x - data.x[train].mean(0)) / data.x[train].std(0)
            fitted = train_both(x[train], data.y[train], seed)
            scores = {
                "maximum likelihood": fitted.network(x[test]),
                "SVI": class_probabilities(fitted.model, fitted.guide, x[test]).mean(0),
            }
            for method, score in scores.items():
                right[method] += int((score.argmax(-1) == data.y[test]).sum())
    accuracy = {method: count / (3 * len(data.y)) for method, count in right.items()}
    assert min(accuracy.values()) >= 0.93, accuracy


def test_the_demo(tmp_path, capsys):
    main(["--out", str(tmp_path)])
    said = capsys.readouterr().out
    for words in ("held out:", "ELBO by step", "log evidence", "leave-one-out", "wrote"):
        assert words in said
    assert "not be trusted" not in said and "do not trust" not in said
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == [
        "iris.nc",
        "losses.png",
        "neurons.png",
        "prior_posterior.png",
        "uncertainty.png",
    ]


def test_the_demo_refuses_what_it_does_not_know():
    with pytest.raises(SystemExit):
        main(["--nonsense"])
