"""Densities of real data by rows left out, against scikit-learn and tgmm.

Writes ``density_estimation.json`` and ``.md`` to ``benchmarks/results``. Run as ``make
bench-density-estimation``. MNIST's pixels are measured with ``--mnist FOLDER``, of its IDX files.
"""

import argparse
import json
import math
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import sklearn
import torch
from sklearn.exceptions import ConvergenceWarning

from ..common.devices import processor
from ..common.paths import RESULTS
from ..common.results import write_results
from .contenders import BASELINE, CONTENDERS, is_missing
from .data import DATA, VARIANTS, mnist_rows, split
from .measure import measured
from .merge import merged
from .report import report
from .search import Settings

FULL = (range(1, 11), (1, 2, 4, 8, 16), (1, 2, 4, 7, 10), (1, 2, 3), 20, 1, 1_000)
TINY = (range(1, 3), (1,), (1, 2), (1, 2), 3, 1, 20)


def parsed() -> argparse.Namespace:
    """Reads the options; ends where they cannot be fulfilled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    rivals = [name for name in CONTENDERS if name != BASELINE]
    parser.add_argument("--only", nargs="+", choices=rivals, help="beside scikit-learn")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keeps other methods of the record that is there, of the same data",
    )
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--mnist", type=Path, metavar="FOLDER", help="measures its pixels, too")
    parser.add_argument("--rows", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--reg-covar", type=float, default=1e-6)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this program")
    parser.add_argument("--out", type=Path, help="a folder; by default results, or out if quick")
    options = parser.parse_args()
    if options.splits < 1:
        parser.error(f"--splits: expected at least 1, got {options.splits}")
    if not 0 <= options.reg_covar < math.inf:
        parser.error(f"--reg-covar: expected a number of at least 0, got {options.reg_covar}")
    for name in options.only or []:
        if is_missing(name):
            parser.error(f"--only: {name} is not installed")
    if options.mnist and not options.mnist.is_dir():
        parser.error(f"--mnist: {options.mnist} is no folder")
    options.out = options.out or (Path("out") if options.quick else RESULTS)
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def run_data(
    name: str, rows: torch.Tensor, n_splits: int, settings: Settings, methods: list[str]
) -> dict[str, Any]:
    """Measures all splits of a data set."""
    splits = []
    for seed in range(n_splits):
        part = split(rows, seed)
        found = measured(part, settings._replace(seed=seed), methods)
        splits.append({"seed": seed, "n_dropped": part.n_dropped, **found})
        means = {method: one["mean"] for method, one in found["methods"].items()}
        print(name, seed, means, flush=True)
    return {"n_rows": len(rows), "n_features": rows.shape[1], "splits": splits}


def warm_up(methods: list[str]) -> None:
    """Loads libraries, which is not to count as time of the first data set."""
    for method in methods:
        CONTENDERS[method](split(DATA["iris"](), 0).train, Settings(*TINY, 1e-6))


def main() -> None:
    """Measures all data sets, and writes the results after each."""
    options = parsed()
    warnings.simplefilter("ignore", ConvergenceWarning)  # which is counted instead
    asked = options.only or [name for name in CONTENDERS if not is_missing(name)]
    methods = [name for name in CONTENDERS if name == BASELINE or name in asked]
    loaders = {name: DATA[name] for name in options.data}
    if options.mnist:
        loaders["mnist"] = partial(mnist_rows, options.mnist)
    settings = Settings(*(TINY if options.quick else FULL), options.reg_covar)
    record: dict[str, Any] = {
        "methods": methods,
        "n_splits": options.splits,
        "settings": settings._asdict() | {"sizes": list(settings.sizes)},
        "machine": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "sklearn": sklearn.__version__,
        "sections": {},
    }
    before = None
    if options.keep:
        before = json.loads((options.out / "density_estimation.json").read_text())
    warm_up(methods)
    for variant in options.rows:
        runs = record["sections"][variant] = {}
        for name, load in loaders.items():
            rows = VARIANTS[variant](load())
            runs[name] = run_data(name, rows, options.splits, settings, methods)
            if before is None:
                write_results(options.out, "density_estimation", record, report(record))
    if before is not None:
        record = merged(before, json.loads(json.dumps(record)))
        write_results(options.out, "density_estimation", record, report(record))
    print(report(record))


if __name__ == "__main__":
    main()
