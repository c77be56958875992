"""Networks of mixture neurons beside other classifiers, on real data sets.

Writes ``networks.json``, ``.md`` and ``.png`` to ``benchmarks/results``, after each data set; those
of the same settings that are not measured now are kept. Run as ``make bench-networks``; MNIST is
measured with ``--mnist FOLDER``, of its IDX files.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import sklearn
import torch

from ..common.paths import RESULTS
from ..common.results import write_results
from .data import DATA, Classes, load_mnist, split
from .plots import plot
from .report import report
from .settings import QUICK, SETTINGS, Settings
from .studies import STUDIES

STEM, MNIST = "networks", "mnist"


def parsed() -> argparse.Namespace:
    """Reads the options; ends where they cannot be fulfilled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*DATA, MNIST], help="data sets")
    parser.add_argument("--resume", action="store_true", help="those that are not there yet")
    parser.add_argument("--mnist", type=Path, metavar="FOLDER", help="measures its images, too")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this program")
    parser.add_argument("--out", type=Path, help="a folder; by default results, or out if quick")
    options = parser.parse_args()
    if options.splits < 2:
        parser.error(f"--splits: expected at least 2, got {options.splits}")
    if options.mnist and not options.mnist.is_dir():
        parser.error(f"--mnist: {options.mnist} is no folder")
    if MNIST in (options.only or []) and not options.mnist:
        parser.error("--only mnist: needs --mnist FOLDER")
    options.out = options.out or (Path("out") if options.quick else RESULTS)
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def run_data(rows: Classes, n_splits: int, settings: Settings) -> dict[str, Any]:
    """Measures all splits of a data set."""
    splits = []
    for seed in range(n_splits):
        part = split(rows, seed)
        found = {study: measure(part, settings, seed) for study, measure in STUDIES.items()}
        splits.append(found)
    shape = {"n_rows": len(rows.y), "n_features": rows.x.shape[1], "n_classes": rows.n_classes}
    return shape | {"splits": splits}


def kept(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The data sets that were measured with the same settings."""
    file = folder / f"{STEM}.json"
    record = json.loads(file.read_text()) if file.exists() else {}
    return record["data"] if record.get("settings") == settings else {}


def write(folder: Path, settings: dict[str, Any], data: dict[str, Any]) -> None:
    """Writes the results of data sets, in the order in which these are listed."""
    record = {
        "settings": settings,
        "torch": torch.__version__,
        "sklearn": sklearn.__version__,
        "data": {one: data[one] for one in (*DATA, MNIST) if one in data},
    }
    write_results(folder, STEM, record, report(record))
    plot(record, folder / f"{STEM}.png")


def main() -> None:
    """Measures data sets, and writes the results after each."""
    options = parsed()
    settings = QUICK if options.quick else SETTINGS
    said = json.loads(json.dumps(asdict(settings) | {"n_splits": options.splits}))
    loaders: dict[str, Callable[[], Classes]] = dict(DATA)
    if options.mnist:
        loaders[MNIST] = partial(load_mnist, options.mnist)
    there = kept(options.out, said) if options.resume else {}
    for name in (name for name in options.only or loaders if name not in there):
        started = time.perf_counter()
        found = run_data(loaders[name](), options.splits, settings)
        found["seconds"] = round(time.perf_counter() - started)
        write(options.out, said, kept(options.out, said) | {name: found})
        print(name, found["seconds"], "s", flush=True)
    write(options.out, said, kept(options.out, said))


if __name__ == "__main__":
    main()
