"""The time and memory of a layer of mixture neurons: ours, the textbook's, torch.compile's.

Writes ``layer.json``, ``layer.md`` and ``layer.png`` to ``benchmarks/results``; of a GPU
``layer_cuda`` of each. Run as ``make bench-layer``, or ``make bench-gpu``.
"""

import argparse
import os
import statistics
from typing import Any

import torch

from pyro_ugmm.nn.kernels import backend_for

from ..common.devices import Device
from ..common.options import add_options, checked_device
from ..common.results import stem_for, write_results
from .contenders import FAR, HEADLINE, OURS, Size, contenders, sweeps
from .measure import measure
from .report import milliseconds, plot, report


def _size(text: str) -> Size:
    rows, inputs, neurons = map(int, text.split("x"))
    return rows, inputs, neurons


def parsed() -> tuple[argparse.Namespace, Device]:
    """Reads the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument(
        "--sizes", type=_size, nargs="+", metavar="ROWSxINPUTSxNEURONS", help="these alone"
    )
    options = parser.parse_args()
    return options, checked_device(parser, options)


def setting(options: argparse.Namespace, device: Device) -> dict[str, Any]:
    """Describes what is measured, and where."""
    chosen = contenders(options.device)
    backend = backend_for(options.device, torch.float32)
    words = f"{device.name()}, float32, "
    if device.kind == "cpu":
        words += f"{options.threads} threads of {os.cpu_count()} cores, "
    fewest = {"cpu": "4,096", "cuda": "four million"}[device.kind]
    words += f"torch {torch.__version__}, ours: {backend} (below {fewest} terms the textbook's). "
    words += "Medians."
    if any(one.name == "floor" for one in chosen):
        words += " The floor is one exponential for every row, input and neuron in the cache, two "
        words += "with the backward."
    on = {"cpu": ("", "make bench-layer"), "cuda": (", on a GPU", "make bench-gpu")}[device.kind]
    return {
        "title": f"A layer of mixture neurons{on[0]}",
        "command": on[1],
        "home": device.name(),
        "setting": words,
        "contenders": [one.name for one in chosen],
        "points": [],
    }


def main() -> None:
    """Measures, and writes the results."""
    options, device = parsed()
    torch.set_num_threads(options.threads)
    record, chosen = setting(options, device), contenders(options.device)
    ours = next(one for one in chosen if one.name == OURS)
    asked = [("chosen", size) for size in options.sizes or ()]
    known: dict[Size, dict[str, Any]] = {}
    for sweep, size in asked or sweeps(options.device, quick=options.quick):
        if size not in known:
            taking_part = [one for one in chosen if one.takes_part(size)]
            known[size] = {one.name: measure(one, size, device) for one in taking_part}
        runs = known[size]
        record["points"].append({"sweep": sweep, "size": size, "runs": runs})
        shown = {
            name: milliseconds(run["both"]) if "both" in run else run["failure"]
            for name, run in runs.items()
        }
        print(sweep, size, shown, flush=True)
    ratios = [
        measure(ours, HEADLINE, device, FAR)["both"] / measure(ours, HEADLINE, device)["both"]
        for _ in range(5)
    ]
    record["far"] = statistics.median(ratios)
    stem = stem_for("layer", options.device)
    write_results(options.out, stem, record, report(record))
    plot(record, options.out / f"{stem}.png")


if __name__ == "__main__":
    main()
