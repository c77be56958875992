"""Posteriors by sequential Monte Carlo against long chains, evidence that is known, and NUTS.

Writes ``posteriors.json`` and ``posteriors.md`` to ``validation/results``. Run as
``make validate``, alone on the machine; the references are those of ``make references``.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pyro_ugmm.files import write_atomically

from . import agreement, evidence, rates
from .cases import CASES
from .closed_forms import KNOWN
from .summaries import FOLDER, Reference

RESULTS = FOLDER.parent / "results"


def _records(section: str, options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measures one case after the other."""
    cases, particles = options.cases.split(","), 64 if options.quick else options.particles
    seeds = range(1 if options.quick else options.seeds)
    if section == "agreement":
        for name in cases:
            yield name, agreement.compare(CASES[name](), Reference.load(name), particles, seeds)
    elif section == "evidence":
        for name in KNOWN:
            yield name, evidence.measure(KNOWN[name](), particles, range(4 * len(seeds)))
    else:
        n_draws = 10 if options.quick else 300
        for name in cases:
            yield name, rates.measure(CASES[name](), min(particles, 256), n_draws, n_draws)


def _report(record: dict[str, dict[str, Any]]) -> str:
    lines = ["# Validation of posteriors", "", "`make validate`", ""]
    compared = record.get("agreement", {})
    bridged = [
        evidence.from_agreement(Reference.load(name), found) for name, found in compared.items()
    ]
    known = [*record.get("evidence", {}).values(), *filter(None, bridged)]
    if compared:
        lines += agreement.report([*compared.values()])
    if known:
        lines += evidence.report(known)
    if "rates" in record:
        lines += rates.report([*record["rates"].values()])
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Measures what is asked for, and writes it beside what was measured before."""
    sections = ("evidence", "rates", "agreement")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(sections), help=f"some of {sections}")
    known = ",".join(path.stem for path in sorted(FOLDER.glob("*.json")))
    parser.add_argument("--cases", default=known, help="of those that have a reference")
    parser.add_argument("--particles", type=int, default=4096)
    parser.add_argument("--seeds", type=int, default=1, help="of evidence four times as many")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this program")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "posteriors.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    for section in options.only.split(","):
        for name, found in _records(section, options):
            record.setdefault(section, {})[name] = found
            print(section, name, str(found)[:200], flush=True)
            write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())
    write_atomically(options.out / "posteriors.md", _report(record).encode())


if __name__ == "__main__":
    main()
