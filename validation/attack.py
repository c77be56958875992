"""Runs that are killed, damaged, interrupted and forked, by the hundred.

The tests that take the fixture ``attacks`` make a few of them; this makes many times as many, and
writes ``attack.md`` to ``validation/results``. Run as ``make attack``. Ends with an error if one
attack succeeded.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from pyro_ugmm.files import write_atomically

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


def _table(report: Path) -> list[str]:
    lines = [
        "# Attacks",
        "",
        "| test | attacks | outcome | seconds |",
        "| :--- | ---: | :--- | ---: |",
    ]
    total = 0
    for case in ElementTree.parse(report).iter("testcase"):
        counts = [
            int(one.attrib["value"])
            for one in case.iter("property")
            if one.attrib["name"] == "attacks"
        ]
        total += sum(counts)
        outcome = next((one.tag for one in case if one.tag != "properties"), "withstood")
        name = f"{case.attrib['classname'].removeprefix('tests.')}::{case.attrib['name']}"
        lines.append(f"| {name} | {sum(counts)} | {outcome} | {float(case.attrib['time']):.0f} |")
    return [*lines, "", f"{total:,} attacks in all.", ""]


def main() -> int:
    """Makes the attacks, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--factor", type=int, default=10, help="times as many as the suite makes")
    parser.add_argument("tests", nargs="*", default=["tests"], help="by default, all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        arguments = ["-n", "2", "--dist", "worksteal", f"--attacks={options.factor}"]
        command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*command, *options.tests], cwd=ROOT, env=environment)
        lines = _table(report)
    print("\n".join(lines))
    if options.tests == ["tests"]:
        write_atomically(RESULTS / "attack.md", "\n".join(lines).encode())
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
