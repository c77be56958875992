"""The results in tables."""

import math
import statistics
from collections import Counter
from typing import Any

from ..common.tables import table
from .contenders import BASELINE, KINDS, OURS, PRODUCTS, TGMM

__all__ = ["report"]

TITLES = {"shipped": "Rows as they are shipped", "dequantized": "Rows dequantized"}


def _means(splits: list[dict[str, Any]]) -> list[float]:
    return [math.nan if one["mean"] is None else one["mean"] for one in splits]


def _difference(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    """Of the splits that both have, with the standard error of its mean."""
    pairs = zip(_means(ours), _means(theirs), strict=True)
    gaps = [one - other for one, other in pairs if math.isfinite(one - other)]
    if not gaps:
        return "none"
    without = "" if len(gaps) == len(ours) else f", {len(gaps)} splits"
    if len(gaps) == 1:
        return f"{_number(gaps[0], '+')}{without}"
    error = statistics.stdev(gaps) / len(gaps) ** 0.5
    return f"{_number(statistics.mean(gaps), '+')} ± {_number(error)}{without}"


def _number(value: float, sign: str = "") -> str:
    return f"{value:{sign},.2f}" if abs(value) < 100 else f"{value:{sign},.0f}"


def _mean(splits: list[dict[str, Any]]) -> str:
    known = [value for value in _means(splits) if math.isfinite(value)]
    return _number(statistics.mean(known)) if known else "none"


def _chosen(splits: list[dict[str, Any]]) -> str:
    """What was chosen, the most frequent first, with how often."""
    names = [
        f"{one['structure'].replace('_', ' ')}: {one['n_components']}"
        for one in splits
        if "structure" in one
    ]
    return ", ".join(f"{name} ({count})" for name, count in Counter(names).most_common())


def _remarks(splits: list[dict[str, Any]]) -> str:
    """What went wrong; nothing if nothing did."""
    known = [one for one in splits if "structure" in one]
    counts = {
        "{} splits without a fit": len(splits) - len(known),
        "{} rows without a finite density": sum(one["n_infinite"] for one in known),
        "{} fits failed": sum(len(one["failures"]) for one in splits),
        "{} chosen not converged": sum(not one["converged"] for one in known),
        "{} chosen held up by reg_covar": sum(one["held_up"] for one in known),
    }
    return ", ".join(words.format(count) for words, count in counts.items() if count)


def _by_method(splits: list[dict[str, Any]], record: dict[str, Any]) -> dict[str, Any]:
    return {
        method: [one["methods"][method] for one in splits]
        for method in record["methods"]
        if all(method in one["methods"] for one in splits)
    }


def _overview(runs: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """A row for each data set: the mean of the baseline, and others' differences from it."""
    rivals = [method for method in record["methods"] if method != BASELINE]
    rows = []
    for name, run in runs.items():
        found = _by_method(run["splits"], record)
        cells = [_difference(found[rival], found[BASELINE]) for rival in rivals]
        sizes = f"{name}, {run['n_rows']:,} x {run['n_features']}"
        rows.append([sizes, _mean(found[BASELINE]), *cells])
    return table(["", BASELINE, *rivals], rows)


def _details(runs: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """A row for each data set and method."""
    rows = []
    for name, run in runs.items():
        found = _by_method(run["splits"], record)
        spent = {one: sum(split["seconds"] for split in found[one]) for one in found}
        for method, splits in found.items():
            ratio = f"{spent[method] / spent[BASELINE]:.2f}"
            cells = [_mean(splits), _chosen(splits), ratio, _remarks(splits)]
            rows.append([f"{name}, {method}", *cells])
    return table(["", "mean", "chosen (splits)", "time", "remarks"], rows)


def _structures(runs: dict[str, Any]) -> list[str]:
    """A row for each data set: ours against the baseline's, structure by structure."""
    rows = []
    for name, run in runs.items():
        ours, theirs = (
            {kind: [one["structures"][method][kind] for one in run["splits"]] for kind in KINDS}
            for method in (OURS, BASELINE)
        )
        rows.append([name, *(_difference(ours[kind], theirs[kind]) for kind in KINDS)])
    return table(["", *KINDS], rows)


def report(record: dict[str, Any]) -> str:
    """The tables of the rows as they are shipped, and of those with noise."""
    lines = ["# Densities of real data", "", _introduction(record), "", _words(), ""]
    for variant, runs in record["sections"].items():
        lines += [f"## {TITLES[variant]}", "", *_overview(runs, record), ""]
        if OURS in record["methods"]:
            lines += [f"Each structure by itself, {OURS} less {BASELINE}:", ""]
            lines += [*_structures(runs), ""]
        lines += [*_details(runs, record), ""]
    return "\n".join(lines).rstrip() + "\n"


def _introduction(record: dict[str, Any]) -> str:
    settings = record["settings"]
    low, high = settings["sizes"][0], settings["sizes"][-1]
    later = ", ".join(record.get("measured_later", []))
    later = later and (
        f" {later} came later, beside {BASELINE} again, whose means were the same: its times are "
        f"in units of {BASELINE}'s in that run."
    )
    products, gaussians = (
        ", ".join(map(str, settings[name])) for name in ("products", "gaussians")
    )
    absent = "" if TGMM in record["methods"] else f" {TGMM} was not measured."
    return (
        "Mean log-likelihood per row left out, in nats, of scikit-learn's GaussianMixture, and by "
        "how much others differ from it on the same splits: the mean ± its standard error over "
        f"{record['n_splits']} random splits, a fifth of the rows left out. (Splits share rows: "
        "the error is rough.) Features are in units of the training part, and columns dropped that "
        f"are constant there ({_dropped(record)}). scikit-learn, {OURS} (`select`) and {TGMM} "
        f"choose one of {', '.join(KINDS)}, and {low} to {high} components, by BIC on the training "
        f"part; low rank (`select`) a rank of {', '.join(map(str, settings['ranks']))} and {low} "
        f"to {high} components; {PRODUCTS} one of {products} products of neurons and of "
        f"{gaussians} Gaussians per neuron. Variational Bayes has {settings['most']} components, "
        "full covariances and the default priors, which are the same in both libraries. "
        f"`reg_covar` is {settings['reg_covar']:g}, a fit has at most {settings['max_iter']:,} "
        f"iterations from {settings['n_init']} start by k-means, and settings are otherwise the "
        f"libraries' defaults.{absent}{later} `make bench-density-estimation`"
    )


def _words() -> str:
    return (
        "*Variational* is the density of the expected parameters, `mixture` of a "
        "VariationalResult; `score_samples` of scikit-learn's BayesianGaussianMixture is no "
        "density. *Predictive* is the expected density, a mixture of Student's t that the "
        "benchmark computes from either posterior. *Held up by reg_covar*: the least variance of "
        "the chosen density is at most twice that; on values that are tied, as rounded ones are, "
        "such a spike has a likelihood that grows without bound as `reg_covar` falls. `select` "
        "prefers fits without, and so does the choice of a UGMMMixture. *Dequantized*: with "
        "uniform noise as wide as the least step between a column's values, so that none are tied. "
        "Colors are pixels, and patches squares of 5 by "
        "5 gray values, of scikit-learn's photographs. Time, of one run in one thread, is in "
        "scikit-learn's, choice included."
    )


def _dropped(record: dict[str, Any]) -> str:
    counts = {
        name: sorted({one["n_dropped"] for one in run["splits"]})
        for name, run in next(iter(record["sections"].values())).items()
    }
    some = [f"{name}: {' or '.join(map(str, n))}" for name, n in counts.items() if n != [0]]
    return ", ".join(some) or "none"
