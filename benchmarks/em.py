"""EM and prediction against scikit-learn and GMMX: GMMX's six sweeps, targets and a memory map.

Writes ``em.json``, ``em.md``, ``em_predict.png`` and ``em_fit.png`` to ``benchmarks/results``. Run
as ``make bench-em``. At every point the contenders are measured in turn, each in a new process, and
that several times over: a machine that others share is now faster and now slower, for minutes.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from em_cases import N_ITER, OURS, Contender, Point, Section, sections
from em_measure import combine, measure, processor
from em_memmap import measure_memmap
from em_plots import plot
from em_report import report, time_text

RESULTS = Path(__file__).parent / "results"
SKIPPED = "not run: the smaller point ran over"


def parsed() -> argparse.Namespace:
    """Reads the options."""
    names = [section.name for section in sections(quick=False)] + ["memmap", "report"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--only",
        metavar="SECTION[,SECTION]",
        help=f"of {', '.join(names)}; other results are kept; report measures nothing",
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this script")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2, help="how often each has its turn")
    parser.add_argument("--limit", type=int, default=120, help="seconds per contender and point")
    parser.add_argument("--out", type=Path, help="a folder; by default results, or out if quick")
    options = parser.parse_args()
    options.only = options.only.split(",") if options.only else names
    unknown = [name for name in options.only if name not in names]
    if unknown:
        parser.error(f"--only: expected some of {names}, got {unknown}")
    available = len(os.sched_getaffinity(0))
    if not 1 <= options.threads <= available:
        parser.error(f"--threads: expected 1 to {available}, the cores here, got {options.threads}")
    if options.limit < 1:
        parser.error(f"--limit: expected at least one second, got {options.limit}")
    if options.rounds < 1:
        parser.error(f"--rounds: expected at least one, got {options.rounds}")
    if options.device == "cuda" and shutil.which("nvidia-smi") is None:
        parser.error("--device: expected cpu, since there is no nvidia-smi here, got cuda")
    options.out = options.out or (Path("out") if options.quick else RESULTS)
    return options


def setting(options: argparse.Namespace) -> dict[str, Any]:
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
    if options.device == "cuda":
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        described["accelerator"] = subprocess.check_output(command, text=True).splitlines()[0]
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


class Record:
    """The results so far, written whole after every point."""

    def __init__(self, path: Path, now: dict[str, Any]) -> None:
        self._path, self._now = path, now
        self.contents: dict[str, Any] = {"sections": {}}
        if path.exists():
            self.contents = json.loads(path.read_text())

    def points(self, section: Section) -> list[dict[str, Any]]:
        """Returns the list of a section's points, less those measured in another setting."""
        kept = self.contents["sections"].get(section.name, {})
        points = kept.get("points", []) if kept.get("setting") == self._now else []
        sizes = [point.sizes for point in section.points]
        points = [point for point in points if point["sizes"] in sizes]
        entry = {"title": section.title, "swept": section.swept, "setting": self._now}
        self.contents["sections"][section.name] = {**entry, "points": points}
        return points

    def put(self, section: Section, result: dict[str, Any]) -> None:
        """Adds a point, or replaces it, and saves."""
        points = self.contents["sections"][section.name]["points"]
        order = [(point.action, point.sizes) for point in section.points]
        key = (result["action"], result["sizes"])
        points[:] = [p for p in points if (p["action"], p["sizes"]) != key] + [result]
        points.sort(key=lambda p: order.index((p["action"], p["sizes"])))
        self.save()

    def save(self) -> None:
        """Writes JSON and tables."""
        order = [section.name for section in sections(quick=False)] + ["memmap"]
        found = self.contents["sections"]
        self.contents["sections"] = {name: found[name] for name in order if name in found}
        write(self._path, json.dumps(self.contents, indent=1) + "\n")
        write(self._path.with_suffix(".md"), report(self.contents, self._path.stem))

    def plot(self) -> None:
        """Draws the sweeps."""
        for action in ("predict", "fit"):
            path = self._path.with_name(f"{self._path.stem}_{action}.png")
            plot(self.contents, action, path)


def write(path: Path, text: str) -> None:
    """Writes a file that is seen whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)


def today() -> str:
    """The date and the time, in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


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
    options = parsed()
    # What is started from here inherits the cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    options.out.mkdir(parents=True, exist_ok=True)
    now = setting(options)
    stem = "em" if options.device == "cpu" else f"em_{options.device}"
    record = Record(options.out / f"{stem}.json", now)
    for section in sections(options.quick):
        if section.name in options.only:
            run_section(section, record, options)
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
