"""Predictions on few rows, as services ask for them, against scikit-learn.

Writes ``em_few_rows.json`` and ``em_few_rows.md`` to ``benchmarks/results``. Run as ``make
bench-em``. The mixture is the same one, fitted by us; the contenders have their turns in one
process, call by call.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pyro_ugmm.em import GaussianMixtureEstimator

from ..common.devices import processor
from ..common.options import add_options, checked_device
from ..common.results import stem_for, write_results
from ..common.tables import table
from .cases import SKLEARN, draw_rows, random_mixture

SIZES = ((3, 4), (10, 10))
N_ROWS = (1, 10, 100, 1_000)
TARGETS = dict(zip(N_ROWS, (2.0, 2.0, 1.0, 1.0), strict=True))
METHODS = {
    "predict": "predict",
    "predict_proba": "responsibilities",
    "score_samples": "log_prob",
}
"""scikit-learn's and the estimator's names, and the mixture's."""
THEIRS, OURS, MIXTURE = SKLEARN, "the estimator", "GaussianMixture"


def microseconds(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median time of each call, by turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()  # of the others, something is left in the cache
            started = time.perf_counter()
            call()
            times[name].append(1e6 * (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in times.items()}


def measured(n_components: int, n_features: int, rounds: int) -> list[dict[str, Any]]:
    """Measures all methods on few and more rows of one mixture."""
    rng = np.random.default_rng(0)
    x = draw_rows(rng, max(N_ROWS), *random_mixture(rng, n_components, n_features))
    ours = GaussianMixtureEstimator(n_components, random_state=0).fit(x)
    theirs = ours.mixture_.to_sklearn()
    results = []
    for n_rows in N_ROWS:
        rows, tensor = x[:n_rows], torch.from_numpy(x[:n_rows])
        for method, of_mixture in METHODS.items():
            calls = {
                THEIRS: lambda m=method, r=rows: getattr(theirs, m)(r),
                OURS: lambda m=method, r=rows: getattr(ours, m)(r),
                MIXTURE: lambda m=of_mixture, t=tensor: getattr(ours.mixture_, m)(t),
            }
            np.testing.assert_allclose(calls[OURS](), calls[THEIRS](), rtol=1e-6, atol=1e-9)
            sizes = {"N": n_rows, "K": n_components, "D": n_features}
            found = microseconds(calls, rounds)
            results.append({"method": method, "sizes": sizes, "microseconds": found})
    return results


def report(results: list[dict[str, Any]], where: str) -> str:
    """The table, and whether the targets were met."""
    rows, missed = [], []
    for one in results:
        sizes, times = one["sizes"], one["microseconds"]
        ratios = {name: times[name] / times[THEIRS] for name in (OURS, MIXTURE)}
        cells = [f"{times[name]:.0f} ({ratios[name]:.2f})" for name in ratios]
        what = f"{one['method']}, K={sizes['K']}, D={sizes['D']}, {sizes['N']:,} rows"
        rows.append([what, f"{times[THEIRS]:.0f}", *cells])
        missed += [what] if ratios[OURS] > TARGETS[sizes["N"]] else []
    said = "; ".join(missed) if missed else "at none"
    lines = [
        f"Predictions of full mixtures on few rows, float64, {where}: medians in microseconds, and "
        "in brackets in scikit-learn's time. `make bench-em`",
        "",
        *table(["", THEIRS, OURS, MIXTURE], rows),
        "",
        f"More than twice scikit-learn's time on 1 or 10 rows, or longer from 100 on: {said}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures all, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=1_000)
    options = parser.parse_args()
    checked_device(parser, options)
    torch.set_num_threads(options.threads)
    rounds = 5 if options.quick else options.rounds
    results = [one for size in SIZES for one in measured(*size, rounds)]
    text = report(results, f"{processor()}, {options.threads} threads, medians of {rounds}")
    write_results(options.out, stem_for("em_few_rows", "cpu"), {"results": results}, text)
    print(text)


if __name__ == "__main__":
    main()
