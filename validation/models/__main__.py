"""Which model: the evidence against the BIC, and rows left out against brute force.

Writes ``models.json`` and ``models.md`` to ``validation/results``. Run as ``make validate-models``.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from pyro_ugmm.files import write_atomically

from .components import component_lines, count_components
from .left_out import MODELS, leave_out, left_out_lines

RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    """Runs what is asked for, and writes the results."""
    writers = {"components": component_lines, "left_out": left_out_lines}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(writers), help=f"some of {[*writers]}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this script")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    quick = options.quick
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "models.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    sections = options.only.split(",")

    def note(section: str, measured: Any) -> None:
        record[section] = measured
        write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())

    if "components" in sections:
        note("components", count_components(1 if quick else 50, 32 if quick else 256))
    if "left_out" in sections:
        for name in MODELS:
            measured = leave_out(name, 12 if quick else 2, 64 if quick else 256)
            note("left_out", record.get("left_out", {}) | {name: measured})
    lines = ["# Which model", "", "`make validate-models`", ""]
    for section in [name for name in writers if name in record]:
        lines += writers[section](record[section])
    write_atomically(options.out / "models.md", ("\n".join(lines).rstrip() + "\n").encode())


if __name__ == "__main__":
    main()
