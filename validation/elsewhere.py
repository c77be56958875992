"""The test suite as other machines would run it: other kernels, threads, seeds, no library in C.

Writes ``elsewhere.md`` to ``validation/results``. Run as ``make test-elsewhere``; takes about half
an hour on two cores. Ends with an error if a test failed anywhere.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pyro_ugmm.files import write_atomically

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent

# What no rounding moves: pages and notebooks, messages, files, processes, attacks.
_LEFT_OUT = (
    "tests/test_docs.py",
    "tests/test_tutorials.py",
    "tests/test_readme.py",
    "tests/test_files.py",
    "tests/saving/test_damaged.py",
    "tests/test_attacked_files.py",
    "tests/*/test_attacks.py",
    "tests/*/test_entries.py",
    "tests/*/test_parameters.py",
    "tests/*/test_kinds_of_rows.py",
    "tests/optimization/test_entering_rows.py",
    "tests/optimization/test_integrity.py",
    "tests/optimization/test_interrupts.py",
    "tests/optimization/test_numbers.py",
    "tests/optimization/test_other_runs.py",
)

_NO_LIBRARY = "no library in C"
_PLACES: dict[str, tuple[dict[str, str], list[str]]] = {
    "no vector instructions": (
        {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
        [],
    ),
    "AVX2": ({"ATEN_CPU_CAPABILITY": "avx2"}, []),
    "two threads, no vector instructions": (
        {"OMP_NUM_THREADS": "2", "ATEN_CPU_CAPABILITY": "default"},
        ["--torch-threads", "2"],
    ),
    "two threads, AVX2": (
        {"OMP_NUM_THREADS": "2", "ATEN_CPU_CAPABILITY": "avx2"},
        ["--torch-threads", "2"],
    ),
    _NO_LIBRARY: ({}, []),
    "other seeds, 1000 more": ({}, ["--shift-seeds", "1000"]),
    "other seeds, 2000 more": ({}, ["--shift-seeds", "2000"]),
    "other seeds, 3000 more": ({}, ["--shift-seeds", "3000"]),
}


def _run(place: str, arguments: list[str]) -> tuple[str, list[str], int, float]:
    """Runs the suite at a place; returns its last line, what failed, its status and seconds."""
    settings, options = _PLACES[place]
    workers = "1" if "--torch-threads" in options else "2"
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "checkout") if place == _NO_LIBRARY else ROOT
        if root != ROOT:
            shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("kernels-*.so", ".*", "dist"))
        left_out = [f"--ignore-glob={root / name}" for name in _LEFT_OUT]
        command = [sys.executable, "-m", "pytest", "-n", workers, "--dist", "worksteal", "-rfE"]
        done = subprocess.run(
            [*command, *options, *left_out, *arguments],
            cwd=root,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), **settings},
            capture_output=True,
            text=True,
        )
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()[-200:]]
    failed = [line.split(" - ")[0] for line in lines if line.startswith(("FAILED", "ERROR"))]
    said = re.sub(r",? \d+ warnings?| in .*", "", lines[-1].strip("= "))
    return said, failed, done.returncode, time.monotonic() - began


def main() -> int:
    """Runs the suite at all places, or those asked for, and writes a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"some of {[*_PLACES]}, separated by semicolons")
    parser.add_argument("tests", nargs="*", help="tests to run; all of them by default")
    options = parser.parse_args()
    places = options.only.split(";") if options.only else [*_PLACES]
    lines = [
        "# The test suite elsewhere",
        "",
        "| where | outcome | seconds |",
        "| :--- | :--- | ---: |",
    ]
    worst, failures = 0, []
    for place in places:
        said, failed, status, seconds = _run(place, options.tests)
        worst = max(worst, status)
        lines.append(f"| {place} | {said} | {seconds:.0f} |")
        failures += [f"- {place}: {line}" for line in failed]
        print(lines[-1], *failed, sep="\n", flush=True)
    if not options.only and not options.tests:
        text = "\n".join([*lines, "", *failures]).rstrip() + "\n"
        write_atomically(RESULTS / "elsewhere.md", text.encode())
    return worst


if __name__ == "__main__":
    sys.exit(main())
