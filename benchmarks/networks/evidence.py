"""Priors of networks, compared by evidence summed over data sets.

Writes ``networks_evidence.json`` and ``.md`` to ``benchmarks/results``, after each data set; those
that are not measured now are kept. Priors are judged by the evidence on data sets to choose on;
those that are reported beside them take no part in it. Run as ``make bench-evidence``.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pyro.distributions as dist
import torch

from pyro_ugmm.diagnostics import class_probabilities
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.sampling import sample_posterior

from ..common.paths import RESULTS
from ..common.results import write_results
from ..common.tables import table
from .choosing import CHOOSING, REPORTED
from .data import Classes, Units
from .measure import scored

STEM, HIDDEN, N_ROWS, N_TEST = "networks_evidence", 4, 80, 500
PARTICLES, MOVES = 64, 8
DEFAULT = "default"

PRIORS: dict[str, Callable[[], Priors]] = {
    DEFAULT: Priors,
    "weights Dirichlet(1)": lambda: Priors(weights=1.0),
    "weights Dirichlet(0.3)": lambda: Priors(weights=0.3),
    "weights Dirichlet(0.1)": lambda: Priors(weights=0.1),
    "variances LogNormal(0, 1)": lambda: Priors(variances=dist.LogNormal(0.0, 1.0)),
    "variances LogNormal(1, 1)": lambda: Priors(variances=dist.LogNormal(1.0, 1.0)),
    "variances LogNormal(0, 1), weights Dirichlet(0.3)": lambda: Priors(
        variances=dist.LogNormal(0.0, 1.0), weights=0.3
    ),
    "variances LogNormal(1, 1), weights Dirichlet(1)": lambda: Priors(
        variances=dist.LogNormal(1.0, 1.0), weights=1.0
    ),
    "variances LogNormal(1, 1), weights Dirichlet(0.1)": lambda: Priors(
        variances=dist.LogNormal(1.0, 1.0), weights=0.1
    ),
    "variances LogNormal(2, 1), weights Dirichlet(0.1)": lambda: Priors(
        variances=dist.LogNormal(2.0, 1.0), weights=0.1
    ),
    "means Normal(0, 1)": lambda: Priors(means=dist.Normal(0.0, 1.0)),
    "means Normal(0, 4)": lambda: Priors(means=dist.Normal(0.0, 4.0)),
    "means Normal(0, 4), weights Dirichlet(0.3)": lambda: Priors(
        means=dist.Normal(0.0, 4.0), weights=0.3
    ),
}
"""What is compared, by its difference from the default."""


JUDGES = {name: CHOOSING[name] for name in ("penguins", "glass", "diabetes", "linear", "xor")}
SHOWN = {name: REPORTED[name] for name in ("iris", "wine", "breast cancer")}


def drawn(rows: Classes, count: int) -> tuple[Classes, Classes]:
    """Rows to learn from and others, in the units of the former."""
    order = torch.randperm(len(rows.y), generator=torch.Generator().manual_seed(0))
    train = rows.taken(order[:count])
    test = rows.taken(order[count : count + N_TEST])
    units = Units.of(train)
    known, unknown = (Classes(units.standardized(one.x), one.y) for one in (train, test))
    return known, unknown


def measured(
    rows: Classes, make: Callable[[], Priors], count: int, particles: int
) -> dict[str, Any]:
    """The evidence of rows to learn from, and the scores of others."""
    known, unknown = drawn(rows, count)
    torch.manual_seed(0)
    network = UGMMNetwork([rows.x.shape[1], HIDDEN, rows.n_classes], normalization="none")
    model = UGMMClassifier(network, make())
    options = {"num_particles": particles, "most_moves": MOVES, "seed": 0, "progress": False}
    started = time.perf_counter()
    sample = sample_posterior(model, known.x, known.y, **options)
    predicted = class_probabilities(model, sample, unknown.x).mean(0)
    is_known = math.isfinite(sample.log_evidence)
    return {
        "log_evidence": round(float(sample.log_evidence), 3) if is_known else None,
        "error": round(float(sample.log_evidence_error), 3) if is_known else None,
        "reason": sample.reason,
        "seconds": round(time.perf_counter() - started, 1),
        **{f"test_{name}": value for name, value in scored(predicted, unknown.y).items()},
    }


def _known(record: dict[str, Any], part: Collection[str]) -> list[str]:
    """The data sets that were measured."""
    return [name for name in part if any(name in one for one in record["priors"].values())]


def _sum(found: list[dict[str, Any]]) -> str:
    """The evidence of a prior over data sets, with its error."""
    if any(one["log_evidence"] is None for one in found):
        return "none"
    error = math.sqrt(sum(one["error"] ** 2 for one in found))
    return f"{sum(one['log_evidence'] for one in found):.1f} ± {error:.1f}"


def _rows(record: dict[str, Any], part: dict[str, Any], measure: str) -> list[str]:
    """A row for each prior measured on all data sets, and a column for each of these."""
    names = _known(record, part)
    lines = []
    whole = {name: one for name, one in record["priors"].items() if {*names} <= {*one}}
    for prior, found in whole.items():
        some = [found[name] for name in names]
        if measure == "log_evidence":
            total = _sum(some)
            values = (one[measure] for one in some)
            cells = ["none" if value is None else f"{value:.1f}" for value in values]
        else:
            total = f"{statistics.mean(one[measure] for one in some):.3f}"
            cells = [f"{one[measure]:.3f}" for one in some]
        lines.append([prior, total, *cells])
    return table(["", "sum" if measure == "log_evidence" else "mean", *names], lines)


def report(record: dict[str, Any]) -> str:
    """The evidences, and the log-losses beside them."""
    lines = [
        "## Priors by evidence",
        "",
        f"Log evidence of {record['n_rows']} rows under networks with one hidden layer of {HIDDEN} "
        f"neurons, without normalization, by sequential Monte Carlo with {record['particles']} "
        f"particles and at most {MOVES} moves, and the log-loss of up to {N_TEST} other rows. A "
        "network's default is Normal(0, 2) means, InverseGamma(2, 1) variances, weights that are "
        "held alike; a prior is named by what differs from that. *Linear* and *xor* are synthetic. "
        "`make bench-evidence`",
        "",
    ]
    for title, part in (("to choose on", JUDGES), ("reported", SHOWN)):
        if not _known(record, part):
            continue
        lines += [f"Log evidence, data sets {title}:", "", *_rows(record, part, "log_evidence"), ""]
        lines += [f"Log-loss, data sets {title}:", "", *_rows(record, part, "test_log_loss"), ""]
    return "\n".join(lines).rstrip() + "\n"


def kept(folder: Path, said: dict[str, Any]) -> dict[str, Any]:
    """What was measured of each prior with the same settings."""
    file = folder / f"{STEM}.json"
    record = json.loads(file.read_text()) if file.exists() else {}
    same = all(record.get(key) == value for key, value in said.items())
    return record["priors"] if same else {}


def main() -> None:
    """Measures all priors on all data sets, and writes the results after each data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*JUDGES, *SHOWN], help="data sets")
    parser.add_argument("--priors", nargs="+", choices=[*PRIORS], default=[*PRIORS])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this program")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    count, particles = (12, 8) if options.quick else (N_ROWS, PARTICLES)
    options.out.mkdir(parents=True, exist_ok=True)
    said = {"n_rows": count, "particles": particles}
    for name in options.only or [*JUDGES, *SHOWN]:
        rows = (JUDGES | SHOWN)[name]()
        found = {prior: measured(rows, PRIORS[prior], count, particles) for prior in options.priors}
        there = kept(options.out, said)
        for prior, one in found.items():
            there[prior] = there.get(prior, {}) | {name: one}
        record = said | {"priors": {prior: there[prior] for prior in PRIORS if prior in there}}
        write_results(options.out, STEM, record, report(record))
        print(name, {prior: one["log_evidence"] for prior, one in found.items()}, flush=True)


if __name__ == "__main__":
    main()
