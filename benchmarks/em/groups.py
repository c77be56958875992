"""Thousands of small mixtures in one call, against scikit-learn in a loop.

Writes ``em_groups.json`` and ``em_groups.md`` to ``benchmarks/results``. Run as ``make bench-em``.
scikit-learn fits some of the groups, from the same number of starts by k-means and for as many
steps; its time for all of them is in proportion.
"""

import argparse
import statistics
import time
import warnings
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from pyro_ugmm.em import fit_groups

from ..common.devices import processor
from ..common.options import add_options, checked_device
from ..common.results import stem_for, write_results
from ..common.tables import table
from .cases import N_ITER, REG_COVAR, SKLEARN, draw_rows, random_mixture

N_GROUPS, N_ROWS, N_COMPONENTS, N_FEATURES = 10_000, 150, 3, 4
COUNTED = 200  # groups that scikit-learn fits
MOST_SECONDS, LEAST_RATIO = 3.0, 100.0


def seconds_of_ours(x: np.ndarray, groups: np.ndarray, covariance: str, rounds: int) -> float:
    """The median time of all groups, starts included."""
    settings = {"tol": 0.0, "max_iter": N_ITER, "reg_covar": REG_COVAR, "progress": False}
    times = []
    for seed in range(rounds + 1):
        started = time.perf_counter()
        fit_groups(x, groups, N_COMPONENTS, covariance, seed=seed, **settings)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def seconds_of_theirs(tables: list[np.ndarray], covariance: str) -> float:
    """The time of some groups in a loop."""
    kind = {"diagonal": "diag"}.get(covariance, covariance)
    settings = {"covariance_type": kind, "tol": 0.0, "max_iter": N_ITER, "reg_covar": REG_COVAR}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        GaussianMixture(N_COMPONENTS, **settings, random_state=0).fit(tables[0])
        started = time.perf_counter()
        for one in tables:
            GaussianMixture(N_COMPONENTS, **settings, random_state=0).fit(one)
        return time.perf_counter() - started


def main() -> None:
    """Measures all structures, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    checked_device(parser, options)
    torch.set_num_threads(options.threads)
    n_groups, counted = (20, 2) if options.quick else (N_GROUPS, COUNTED)
    rng = np.random.default_rng(0)
    parts = [
        draw_rows(rng, N_ROWS, *random_mixture(rng, N_COMPONENTS, N_FEATURES))
        for _ in range(n_groups)
    ]
    x, groups = np.concatenate(parts), np.arange(n_groups).repeat(N_ROWS)
    records: list[dict[str, Any]] = []
    for covariance in ("full", "tied", "diagonal", "spherical"):
        ours = seconds_of_ours(x, groups, covariance, 1 if options.quick else options.rounds)
        theirs = seconds_of_theirs(parts[:counted], covariance) * n_groups / counted
        records.append({"covariance": covariance, "seconds": ours, "theirs": theirs})
    rows = [
        [
            record["covariance"],
            f"{record['seconds']:.2f} s",
            f"{record['theirs']:.0f} s",
            f"{record['theirs'] / record['seconds']:.0f}",
        ]
        for record in records
    ]
    head = ["", "fit_groups", f"{SKLEARN}, in proportion to {counted} groups", "ratio"]
    lines = [
        f"{n_groups:,} groups of {N_ROWS} x {N_FEATURES} by {N_COMPONENTS} components, "
        f"{N_ITER} iterations from k-means in each, float64. {processor()}, {options.threads} "
        f"threads. Target: full covariances in under {MOST_SECONDS:.0f} s, and {LEAST_RATIO:.0f} "
        "times as fast. `make bench-em`",
        "",
        *table(head, rows),
        "",
    ]
    text = "\n".join(lines)
    write_results(options.out, stem_for("em_groups", "cpu"), {"records": records}, text)
    print(text)


if __name__ == "__main__":
    main()
