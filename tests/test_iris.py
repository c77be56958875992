"""The main job: the accuracy that the README promises, and the demo as a whole."""

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


WORDS = ("best by BIC", "log evidence", "leave-one-out", "held out, 30 rows", "with priors, by SVI")


def test_the_demo(tmp_path, capfd):
    main(["--out", str(tmp_path)])
    said, err = capfd.readouterr()
    assert all(words in said for words in WORDS)
    assert "Iris: 150 rows, 4 features; species: setosa 50, versicolor 50, virginica 50" in said
    assert "converged: the posterior was reached" in said and "in 150 of 150 rows" in said
    assert "%|" not in err and max(map(len, said.splitlines())) < 130
    written = sorted(path.name for path in tmp_path.iterdir())
    pictures = ["density.png", "mixture.png", "neurons.png", "selection.png", "uncertainty.png"]
    assert written == sorted(["iris.nc", *pictures])
