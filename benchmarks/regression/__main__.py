"""Regression by held-out rows, against a mixture-density network, boosting and least squares.

Writes ``regression.json`` and ``.md`` to ``benchmarks/results``. Run as ``make bench-regression``.
"""

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import sklearn
import torch

from ..common.devices import processor
from ..common.paths import RESULTS
from ..common.results import write_results
from .contenders import CONTENDERS, SAMPLED, Settings
from .data import DATA, Split, split
from .report import report

SETTINGS = Settings((16, 10), (32, 20), many=1000, dropout=0.2, seed=0, quick=False)
_SMALL = 150  # rows of the table whose posterior is sampled


def parsed() -> argparse.Namespace:
    """Reads the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this program")
    parser.add_argument("--out", type=Path, help="a folder; by default results, or out if quick")
    options = parser.parse_args()
    if options.splits < 1:
        parser.error(f"--splits: expected at least 1, got {options.splits}")
    options.out = options.out or (Path("out") if options.quick else RESULTS)
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def scored(method: str, part: Split, settings: Settings) -> dict[str, float]:
    """What a method's predictions of the rows left out are worth."""
    started = time.perf_counter()
    found = CONTENDERS[method](part, settings)
    seconds = time.perf_counter() - started
    y = part.y_held_out
    return {
        "log_score": float(found.log_density.mean()),
        "coverage": float(((found.low <= y) & (y <= found.high)).double().mean()),
        "width": float((found.high - found.low).mean()),
        "seconds": seconds,
    }


def run_data(name: str, options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Measures all splits of a table."""
    x, y = DATA[name]()
    splits = []
    for seed in range(options.splits):
        part, one = split(x, y, seed), settings._replace(seed=seed)
        methods = [m for m in options.only if m != SAMPLED or len(x) <= _SMALL]
        splits.append({method: scored(method, part, one) for method in methods})
        print(name, seed, splits[-1], flush=True)
    return {"n_rows": len(x), "n_features": x.shape[1], "splits": splits}


def main() -> None:
    """Measures all tables, and writes the results after each."""
    options = parsed()
    warnings.simplefilter("ignore")
    settings = SETTINGS._replace(quick=options.quick)
    record: dict[str, Any] = {
        "methods": [method for method in CONTENDERS if method in options.only],
        "n_splits": options.splits,
        "settings": settings._asdict(),
        "machine": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "sklearn": sklearn.__version__,
        "data": {},
    }
    for name in options.data:
        record["data"][name] = run_data(name, options, settings)
        write_results(options.out, "regression", record, report(record))
    print(report(record))


if __name__ == "__main__":
    main()
