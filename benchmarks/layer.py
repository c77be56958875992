"""The time and memory of a layer of mixture neurons: ours, the textbook's, torch.compile's.

Writes ``layer.json``, ``layer.md`` and ``layer.png`` to ``benchmarks/results``. Run as
``make bench-layer``.
"""

import argparse
import ctypes
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from em_measure import memory_mb, processor

from pyro_ugmm.nn.kernels import backend_for, force_backend, layer_log_density
from pyro_ugmm.nn.kernels.textbook import textbook

RESULTS = Path(__file__).parent / "results"
HEADLINE = (256, 784, 128)
SWEEPS = {
    "rows": [(n, 784, 128) for n in (16, 64, 256, 1024)],
    "inputs": [(256, n, 128) for n in (16, 128, 784, 3136)],
    "neurons": [(256, 784, n) for n in (10, 32, 128, 512)],
}
SMALL = [(1, 2, 1), (1, 10, 3), (8, 4, 3), (32, 8, 8), (16, 16, 16), (64, 32, 8), (150, 4, 8)]
SMALL += [(2_000, 4, 8), (20_000, 4, 8), (50_000, 2, 4)]
FAR = 200.0
_COMPILED_AT = (HEADLINE, SMALL[0])  # torch.compile takes half a minute a size
OURS, TILED, TEXTBOOK, COMPILED, LINEAR, FLOOR = CONTENDERS = (
    "ours",
    "ours without a compiler",
    "textbook",
    "torch.compile of the textbook",
    "nn.Linear",
    "floor",
)
_ENOUGH_SECONDS, _MOST_REPETITIONS = 1.5, 15
_FLOOR_VALUES = 1 << 16


def _problem(size: tuple[int, int, int], offset: float = 0.0) -> list[torch.Tensor]:
    n_rows, n_inputs, n_neurons = size
    generator = torch.Generator().manual_seed(0)
    shape = (n_neurons, n_inputs)
    x = torch.randn(n_rows, n_inputs, generator=generator) + offset
    loc = torch.randn(shape, generator=generator)
    scale = torch.rand(shape, generator=generator) + 0.5
    log_weight = torch.randn(shape, generator=generator).log_softmax(-1)
    return [tensor.requires_grad_() for tensor in (x, loc, scale, log_weight)]


def _tiled(*tensors: torch.Tensor) -> torch.Tensor:
    with force_backend("tiled"):
        return layer_log_density(*tensors)


def _functions(contender: str, tensors: list[torch.Tensor]) -> dict[str, Callable[[], Any]]:
    """What is timed: ``forward``, and ``both`` with the backward."""
    x, loc, *_ = tensors
    if contender == FLOOR:
        count = max(1, round(len(x) * loc.numel() / _FLOOR_VALUES))
        values = torch.rand(min(_FLOOR_VALUES, len(x) * loc.numel())).neg_()

        def exponentials(times: int) -> None:
            for _ in range(times * count):
                torch.exp(values, out=out)

        out = torch.empty_like(values)
        return {"forward": lambda: exponentials(1), "both": lambda: exponentials(2)}
    if contender == LINEAR:
        tensors, function = [x, loc], torch.nn.functional.linear
    else:
        function = {
            OURS: layer_log_density,
            TILED: _tiled,
            TEXTBOOK: textbook,
            COMPILED: torch.compile(textbook, dynamic=False),
        }[contender]
    grad = torch.ones(len(x), len(loc))

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return function(*tensors)

    def both() -> Any:
        return torch.autograd.grad(function(*tensors), tensors, grad)

    return {"forward": forward, "both": both}


def _times(function: Callable[[], Any]) -> list[float]:
    """Repeats, several calls at a time where one is short."""
    started = time.perf_counter()
    function()
    once = time.perf_counter() - started
    number = max(1, math.ceil(2e-3 / max(once, 1e-7)))
    times: list[float] = []
    while len(times) < _MOST_REPETITIONS and sum(times) * number < _ENOUGH_SECONDS:
        started = time.perf_counter()
        for _ in range(number):
            function()
        times.append((time.perf_counter() - started) / number)
    return times


def measure(contender: str, size: tuple[int, int, int], offset: float = 0.0) -> dict[str, Any]:
    """Measures one contender at one size, in seconds and MB beyond what was held before."""
    functions = _functions(contender, _problem(size, offset))
    found: dict[str, Any] = {}
    for name, function in functions.items():
        function()  # compiles, and fills caches
        ctypes.CDLL(None).malloc_trim(0)  # what was freed counts as held otherwise
        Path("/proc/self/clear_refs").write_text("5")
        before = memory_mb("VmRSS")
        function()
        found[f"{name}_mb"] = memory_mb("VmHWM") - before
        found[name] = statistics.median(_times(function))
    return found


def _sizes(quick: bool) -> Iterator[tuple[str, tuple[int, int, int]]]:
    if quick:
        yield from [("rows", (4, 3, 2)), ("rows", (64, 30, 20)), ("small", (1, 2, 1))]
        return
    for name, sizes in SWEEPS.items():
        yield from ((name, size) for size in sizes)
    yield from (("small", size) for size in SMALL)


def _milliseconds(seconds: float) -> str:
    value = 1e3 * seconds
    return f"{value:.3f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _megabytes(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else "under 1"


def report(record: dict[str, Any]) -> str:
    """Returns the results as Markdown."""
    lines = ["# A layer of mixture neurons", "", record["setting"] + " `make bench-layer`", ""]
    head = "| rows x inputs x neurons | " + " | ".join(CONTENDERS) + " | textbook / ours |"
    rule = "| :--- |" + " ---: |" * (len(CONTENDERS) + 1)
    for title, key, unit in (
        ("Forward and backward, ms", "both", _milliseconds),
        ("Forward alone, ms", "forward", _milliseconds),
        ("Peak memory of forward and backward, MB", "both_mb", _megabytes),
    ):
        lines += [f"## {title}", "", head, rule]
        for size, runs in {tuple(p["size"]): p["runs"] for p in record["points"]}.items():
            cells = [unit(runs[c][key]) if c in runs else "" for c in CONTENDERS]
            ratio = runs[TEXTBOOK][key] / max(runs[OURS][key], 1e-9)
            shown = f"{ratio:.1f}" if key != "both_mb" or runs[OURS][key] >= 1 else ""
            label = " x ".join(f"{n:,}" for n in size)
            lines.append(f"| {label} | {' | '.join([*cells, shown])} |")
        lines.append("")
    if "far" in record:
        lines += [
            f"Inputs {FAR:g} away from all means, so that every term of every row underflows, take "
            f"{record['far']:.2f} times as long at {' x '.join(map(str, HEADLINE))}.",
            "",
        ]
    return "\n".join(lines)


def plot(record: dict[str, Any], path: Path) -> None:
    """Draws the sweeps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(point["sweep"] for point in record["points"]))
    names = [name for name in names if name != "small"]
    layout = {"figsize": (4.6 * len(names), 4.4), "layout": "constrained"}
    figure, axes = plt.subplots(1, len(names), sharey=True, squeeze=False, **layout)
    for ax, name in zip(axes[0], names, strict=True):
        points = [point for point in record["points"] if point["sweep"] == name]
        at = {"rows": 0, "inputs": 1, "neurons": 2}[name]
        for i, contender in enumerate(CONTENDERS):
            known = [point for point in points if contender in point["runs"]]
            style = "--" if contender in (LINEAR, FLOOR) else "-"
            ax.loglog(
                [point["size"][at] for point in known],
                [1e3 * point["runs"][contender]["both"] for point in known],
                style,
                marker="o",
                markersize=4,
                color=f"C{i}",
                linewidth=2.4 if contender == OURS else 1.2,
                label=contender,
            )
        ax.set(xlabel=name)
        ax.grid(alpha=0.3)
    axes[0][0].set_ylabel("forward and backward, ms")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    figure.suptitle("256 rows, 784 inputs, 128 neurons, and one of them varied")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measures, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this script")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    backend = backend_for("cpu", torch.float32)
    record: dict[str, Any] = {
        "setting": f"{processor()}, float32, {options.threads} threads of {os.cpu_count()} cores, "
        f"torch {torch.__version__}, ours: {backend} (below 4,096 terms the textbook's). Medians. "
        "The floor is one exponential for every row, input and neuron in the cache, two with the "
        "backward.",
        "points": [],
    }
    known: dict[tuple[int, int, int], dict[str, Any]] = {}
    for sweep, size in _sizes(options.quick):
        if size not in known:
            chosen = [one for one in CONTENDERS if one != COMPILED or size in _COMPILED_AT]
            known[size] = {contender: measure(contender, size) for contender in chosen}
        runs = known[size]
        record["points"].append({"sweep": sweep, "size": size, "runs": runs})
        shown = {name: _milliseconds(run["both"]) for name, run in runs.items()}
        print(sweep, size, shown, flush=True)
    ratios = [
        measure(OURS, HEADLINE, FAR)["both"] / measure(OURS, HEADLINE)["both"] for _ in range(5)
    ]
    record["far"] = statistics.median(ratios)
    texts = {"json": json.dumps(record, indent=1) + "\n", "md": report(record)}
    for end, text in texts.items():
        partial = options.out / f".layer.{end}.{os.getpid()}"
        partial.write_text(text)
        os.replace(partial, options.out / f"layer.{end}")
    plot(record, options.out / "layer.png")


if __name__ == "__main__":
    main()
