"""The time of a step of training a network, beside an MLP's, torch.compile's, and its floor.

Writes ``step.json`` and ``step.md`` to ``benchmarks/results``. Run as ``make bench-layer``.
"""

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyro_ugmm.nn import UGMMNetwork

from ..common.devices import processor
from ..common.options import add_options, checked_device
from ..common.results import write_results
from ..common.tables import table

SIZES, HIDDEN = [784, 128, 64, 10], (320, 256)
ROWS = (64, 128, 256, 512)
_IN_CACHE = 1 << 16
Call = Callable[[], object]


def mlp() -> torch.nn.Module:
    """As many parameters as the network has, give or take 3 %."""
    wide, narrow = HIDDEN
    return torch.nn.Sequential(
        torch.nn.Linear(SIZES[0], wide),
        torch.nn.ReLU(),
        torch.nn.Linear(wide, narrow),
        torch.nn.ReLU(),
        torch.nn.Linear(narrow, SIZES[-1]),
    )


def step_of(module: torch.nn.Module, x: Tensor, y: Tensor, *, compiled: bool = False) -> Call:
    """A step of Adam on the cross-entropy."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    loss_of = torch.nn.functional.cross_entropy
    scores = torch.compile(module, dynamic=False) if compiled else module

    def step() -> None:
        optimizer.zero_grad()
        loss_of(scores(x), y).backward()
        optimizer.step()

    return step


def floor(n_rows: int) -> Call:
    """One exponential for each row, input and neuron, forward and backward, in the cache."""
    n_terms = n_rows * sum(a * b for a, b in itertools.pairwise(SIZES))
    values = torch.rand(_IN_CACHE).neg_()
    out = torch.empty_like(values)

    def exponentials() -> None:
        for _ in range(2 * n_terms // _IN_CACHE):
            torch.exp(values, out=out)

    return exponentials


def measured(n_rows: int, rounds: int, *, with_compiler: bool) -> dict[str, float]:
    """Median seconds of each, in turns."""
    torch.manual_seed(0)
    x, y = torch.rand(n_rows, SIZES[0]), torch.randint(0, SIZES[-1], (n_rows,))
    calls = {
        "network": step_of(UGMMNetwork(SIZES), x, y),
        "MLP": step_of(mlp(), x, y),
        "exponentials alone": floor(n_rows),
    }
    if with_compiler:  # which takes half a minute
        calls["network, torch.compile"] = step_of(UGMMNetwork(SIZES), x, y, compiled=True)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 3):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if turn >= 3:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in times.items()}


def report(record: dict[str, Any]) -> str:
    """Milliseconds, and in steps of the MLP."""
    names = [name for name in next(iter(record["rows"].values()))]
    rows = []
    for n_rows, found in record["rows"].items():
        cells = [f"{1e3 * found[name]:.2f}" for name in names]
        rows.append([n_rows, *cells, f"{found['network'] / found['MLP']:.1f}"])
    lines = [
        "## A step of training",
        "",
        f"Milliseconds of a step of Adam on cross-entropy of UGMMNetwork({SIZES}), of it under "
        f"torch.compile, and of an MLP with hidden layers of {HIDDEN[0]} and {HIDDEN[1]} and as "
        "many parameters, by rows of a batch; the last column is the network's in the MLP's. "
        "*Exponentials alone*: torch's, one for each row, input and neuron, forward and backward, "
        "which nothing that evaluates the layer exactly can leave out. "
        f"{record['machine']}, float32, {record['threads']} threads of {record['cores']} cores, "
        f"torch {record['torch']}, medians of {record['rounds']} rounds in turns. "
        "`make bench-layer`",
        "",
        *table(["rows", *names, "ratio"], rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    options = parser.parse_args()
    checked_device(parser, options)
    torch.set_num_threads(options.threads)
    rounds = 2 if options.quick else 60
    record = {
        "machine": processor(),
        "threads": options.threads,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "rounds": rounds,
        "rows": {
            str(n): measured(n, rounds, with_compiler=not options.quick)
            for n in (ROWS[:1] if options.quick else ROWS)
        },
    }
    write_results(options.out, "step", record, report(record))
    print(report(record))


if __name__ == "__main__":
    main()
