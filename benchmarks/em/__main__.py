"""EM and prediction against scikit-learn and GMMX: GMMX's six sweeps, targets and a memory map.

Writes ``em.json``, ``em.md``, ``em_predict.png``, ``em_fit.png`` and ``em_small.png`` to
``benchmarks/results``. Run as ``make bench-em``. At every point the contenders are measured in
turn, each in a new process, and that several times over: a machine that others share is now faster
and now slower, for minutes.
"""

import argparse
import os
import platform
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..common.devices import Device, processor
from ..common.options import add_options, checked_device
from ..common.results import stem_for
from .cases import N_ITER, OURS, Contender, Point, Section, sections, thinned
from .measure import combine, measure
from .memmap import measure_memmap
from .record import Record, today
from .report import time_text

SKIPPED = "not run: the smaller point ran over"


def parsed() -> tuple[argparse.Namespace, Device]:
    """Reads the options."""
    names = [section.name for section in sections(quick=False)] + ["memmap", "report"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument(
        "--only",
        metavar="SECTION[,SECTION]",
        help=f"of {', '.join(names)}; other results are kept; report measures nothing",
    )
    parser.add_argument("--points", type=int, help="at most so many of each section, evenly chosen")
    parser.add_argument("--rounds", type=int, default=2, help="how often each has its turn")
    parser.add_argument("--limit", type=int, default=120, help="seconds per contender and point")
    options = parser.parse_args()
    options.only = options.only.split(",") if options.only else names
    unknown = [name for name in options.only if name not in names]
    if unknown:
        parser.error(f"--only: expected some of {names}, got {unknown}")
    available = len(os.sched_getaffinity(0))
    if not 1 <= options.threads <= available:
        parser.error(f"--threads: expected 1 to {available}, the cores here, got {options.threads}")
    for name in ("limit", "rounds", "points"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name}: expected at least one, got {value}")
    return options, checked_device(parser, options)


def setting(options: argparse.Namespace, device: Device) -> dict[str, Any]:
    """Describes the machine and what was asked of it."""
    described = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "device": options.device,
        "limit_seconds": options.limit,
        "rounds": options.rounds,
        "n_iter": N_ITER,
        "python": platform.python_version(),
    }
    if device.kind != "cpu":
        described["accelerator"] = device.name()
    for name in ("torch", "pyro-ppl", "numpy", "scikit-learn", "gmmx", "jax"):
        try:
            described[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            described[name] = "not installed"
    return described


def agreement(point: Point, runs: dict[str, Any], folder: Path) -> dict[str, float]:
    """Compares results with ours of the same precision.

    Predictions by the fraction that is equal, fits by the difference of log-likelihoods.
    """
    found = {}
    for rival in point.contenders:
        ours, theirs = Contender(OURS, rival.precision), runs[str(rival)]
        if rival == ours or ours not in point.contenders:
            continue
        paths = [folder / f"{one}.npy" for one in (ours, rival)]
        values = [run.get("log_likelihood") for run in (runs[str(ours)], theirs)]
        if all(path.exists() for path in paths):
            equal = np.load(paths[0]) == np.load(paths[1])
            found[str(rival)] = float(equal.mean())
        elif None not in values:
            found[str(rival)] = values[1] - values[0]
    return found


def run_section(section: Section, record: Record, options: argparse.Namespace) -> None:
    """Measures all contenders at one point, then at the next."""
    record.points(section)
    ran_over: set[Contender] = set()
    for at, point in enumerate(section.points, 1):
        with tempfile.TemporaryDirectory() as folder:
            skipped = ran_over & set(point.contenders)
            runs = run_point(point, skipped, Path(folder), options)
            found = agreement(point, runs, Path(folder))
        for contender in point.contenders:
            run = runs[str(contender)]
            if run.pop("ran_over", False) and section.swept:
                ran_over.add(contender)
            step = f"{section.name} {at}/{len(section.points)}"
            print(f"{step}  {point}  {contender}: {summary(run)}", flush=True)
        targets = [
            {"rival": str(t.rival), "ours": str(t.ours), "ratio": t.ratio} for t in point.targets
        ]
        result = {"action": point.action, "sizes": point.sizes, "date": today()}
        record.put(section, {**result, "runs": runs, "agreement": found, "targets": targets})


def run_point(
    point: Point, skipped: set[Contender], folder: Path, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Measures contenders in turn, until each had its rounds, failed, or reached the limit."""
    results = {one: [{"failure": SKIPPED}] if one in skipped else [] for one in point.contenders}
    spent = dict.fromkeys(point.contenders, 0.0)
    for _ in range(options.rounds):
        for contender, runs in results.items():
            if spent[contender] > options.limit or any("failure" in run for run in runs):
                continue
            started = time.perf_counter()
            run = measure(
                contender,
                point,
                device=options.device,
                threads=options.threads,
                limit=options.limit,
                predictions=folder / f"{contender}.npy",
            )
            spent[contender] += time.perf_counter() - started
            runs.append(run)
    return {str(contender): combine(runs) for contender, runs in results.items()}


def summary(run: dict[str, Any]) -> str:
    """Says in a line how it went."""
    words = [run["failure"]] if "failure" in run else []
    if "seconds" in run:
        words.append(time_text(run["seconds"]))
    words += [f"{run['memory_mb']:,.0f} MB"] if "memory_mb" in run else []
    return ", ".join([*words, *([run["remark"]] if "remark" in run else [])])


def main() -> None:
    """Runs what was asked for, and writes the results."""
    options, device = parsed()
    # What is started from here inherits the cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    now, stem = setting(options, device), stem_for("em", options.device)
    record = Record(options.out / f"{stem}.json", now)
    for section in sections(options.quick):
        if section.name in options.only:
            run_section(thinned(section, options.points), record, options)
            record.plot()
    if "memmap" in options.only:
        found = measure_memmap(quick=options.quick, device=options.device, threads=options.threads)
        print("memmap", found, flush=True)
        record.contents["sections"]["memmap"] = {"setting": now, "date": today(), **found}
    record.save()
    record.plot()
    print(f"wrote {options.out / stem}.json, .md and plots")


if __name__ == "__main__":
    main()
