"""Variational Bayes against scikit-learn, at the sizes of EM's sweeps.

Writes ``em_variational.json`` and ``em_variational.md`` to ``benchmarks/results``. Run as ``make
bench-em``. Both start from the same responsibilities, and take turns in one process.
"""

import argparse
import statistics
import time
import warnings
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture

from pyro_ugmm.em import VariationalEM, initialize

from ..common.devices import processor
from ..common.options import add_options, checked_device
from ..common.results import stem_for, write_results
from ..common.tables import table
from .cases import draw_rows, random_mixture

SIZES = ((65_536, 32, 32), (65_536, 4, 32), (20_000, 8, 8), (1_000, 10, 10))
N_ITER = 20
TARGET = 5.0
STRUCTURES = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}


class FromResponsibilities(BayesianGaussianMixture):
    """scikit-learn's, from responsibilities that are set."""

    def _initialize_parameters(self, x, random_state, xp=None) -> None:
        self._initialize(x, self.given)


def milliseconds_per_iteration(x: torch.Tensor, n_components: int, name: str) -> tuple[float, ...]:
    """Of ours and of theirs, from one start."""
    start = initialize(x, n_components, name, method="random_from_data", seed=0)
    theirs = FromResponsibilities(
        n_components=n_components, covariance_type=STRUCTURES[name], tol=0, max_iter=N_ITER
    )
    theirs.given = start.responsibilities(x).numpy()
    ours = VariationalEM(tol=0, max_iter=N_ITER, progress=False)
    before = time.perf_counter()
    n_iter = ours.fit(x, start).n_iter
    between = time.perf_counter()
    theirs.fit(x.numpy())
    after = time.perf_counter()
    return 1e3 * (between - before) / n_iter, 1e3 * (after - between) / theirs.n_iter_


def measured(sizes: tuple[int, int, int], name: str, dtype: Any, rounds: int) -> dict[str, Any]:
    """The medians of some rounds."""
    n_rows, n_components, n_features = sizes
    rng = np.random.default_rng(0)
    rows = draw_rows(rng, n_rows, *random_mixture(rng, n_components, n_features))
    x = torch.from_numpy(rows.astype(dtype))
    times = [milliseconds_per_iteration(x, n_components, name) for _ in range(rounds)]
    ours, theirs = (statistics.median(one) for one in zip(*times, strict=True))
    what = f"N={n_rows:,}, K={n_components}, D={n_features}, {name}, {np.dtype(dtype).name}"
    return {"what": what, "ours": ours, "theirs": theirs, "ratio": theirs / ours}


def main() -> None:
    """Measures all, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    checked_device(parser, options)
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)
    sizes = ((500, 3, 2),) if options.quick else SIZES
    kinds = [(name, dtype) for name in STRUCTURES for dtype in (np.float64, np.float32)]
    results = [measured(size, *kind, options.rounds) for size in sizes for kind in kinds]
    cells = [
        [one["what"], f"{one['theirs']:.1f}", f"{one['ours']:.1f}", f"{one['ratio']:.1f}"]
        for one in results
    ]
    where = f"{processor()}, {options.threads} threads, medians of {options.rounds}"
    lines = [
        f"An iteration of variational Bayes in milliseconds, {where}. At least {TARGET:g} times as "
        "fast is wanted. `make bench-em`",
        "",
        *table(["", "scikit-learn", "pyro_ugmm", "times as fast"], cells),
    ]
    text = "\n".join(lines) + "\n"
    write_results(options.out, stem_for("em_variational", "cpu"), {"results": results}, text)
    print(text)


if __name__ == "__main__":
    main()
