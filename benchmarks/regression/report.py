"""The results in tables."""

import math
import statistics
from typing import Any

from ..common.tables import table
from .contenders import BASELINE, COVERAGE, SAMPLED

__all__ = ["report"]


def _of(run: dict[str, Any], method: str, what: str) -> list[float]:
    return [one[method][what] for one in run["splits"] if method in one]


def _with_error(values: list[float], form: str) -> str:
    if not values:
        return ""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):{form}} ± {error:{form.lstrip('+')}}"


def _log_scores(runs: dict[str, Any], methods: list[str]) -> list[str]:
    rows = []
    for name, run in runs.items():
        ours = _of(run, BASELINE, "log_score")
        cells = [f"{statistics.mean(ours):.2f}"]
        for method in methods:
            theirs = _of(run, method, "log_score")
            gaps = [one - other for one, other in zip(theirs, ours, strict=False)]
            cells.append(_with_error(gaps, "+.2f"))
        rows.append([f"{name}, {run['n_rows']:,} x {run['n_features']}", *cells])
    return table(["", BASELINE, *methods], rows)


def _means(runs: dict[str, Any], methods: list[str], what: str, form: str) -> list[str]:
    rows = [
        [name, *(_with_error(_of(run, method, what), form) for method in methods)]
        for name, run in runs.items()
    ]
    if what == "coverage":
        mean = [
            [statistics.mean(found) for run in runs.values() if (found := _of(run, method, what))]
            for method in methods
        ]
        rows.append(["mean of tables", *(f"{statistics.mean(one):{form}}" for one in mean)])
    return table(["", *methods], rows)


def report(record: dict[str, Any]) -> str:
    """The tables."""
    runs, methods = record["data"], record["methods"]
    rivals = [method for method in methods if method != BASELINE]
    lines = ["# Regression", "", _introduction(record), "", "Log score, nats a row:", ""]
    lines += [*_log_scores(runs, rivals), "", f"Rows within the {COVERAGE:.0%} interval:", ""]
    lines += [*_means(runs, methods, "coverage", ".3f"), "", "Mean width of the intervals:", ""]
    lines += [*_means(runs, methods, "width", ".2f"), "", "Seconds, to fit and to predict:", ""]
    lines += _means(runs, methods, "seconds", ".1f")
    return "\n".join(lines) + "\n"


def _introduction(record: dict[str, Any]) -> str:
    settings = record["settings"]
    few, more = (
        "{} hidden neurons and {} components".format(*settings[k]) for k in ("few", "more")
    )
    return (
        "Mean log predictive density of held-out rows under UGMMRegressor by SVI, and by how much "
        "others differ from it on the same splits: the mean ± its standard error over "
        f"{record['n_splits']} random splits, a fifth of the rows left out. (Splits share rows: "
        "the error is rough.) Features and targets are in units of the training part; targets have "
        "uniform noise as wide as their least step, so that none are tied. UGMMRegressor has "
        f"{few}, from {settings['many']:,} training rows on {more}: by SVI, by SVI of four fifths "
        "of the training rows with intervals that are conformal by the others, maximum likelihood "
        f"(dropout {settings['dropout']:g}) and, of the smallest table, the posterior itself "
        f"({SAMPLED}: 32 particles, weights with a prior), with the library's defaults otherwise. "
        "The mixture-density network has as many parameters and components, and stops where a "
        "fifth of its training rows is predicted best. Gradient boosting is scikit-learn's "
        "HistGradientBoosting with its defaults: "
        "intervals by two fits of quantiles, the density normal around its mean with the spread of "
        "residuals in five folds. Linear: least squares with normal residuals. Sizes, dropout and "
        "priors were chosen on simulated rows, none of these; the larger size was looked for there "
        "after a first run with the smaller one alone, by which intervals on the two largest "
        "tables held 93.6 and 94.0 %. `make bench-regression`"
    )
