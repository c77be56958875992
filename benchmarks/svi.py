"""The time of a step of SVI with a mean-field guide, in steps of maximum likelihood.

Beside them plain Pyro: ``AutoNormal`` and ``Trace_ELBO`` on the same layers, with nothing of ours
but these, normal priors on means and log scales, and no stopping rule; about the least that a step
through Pyro costs.

Writes ``benchmarks/results/svi.json`` and ``svi.md``. Run as ``make bench-svi``.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import Tensor

from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_mle, fit_svi

RESULTS = Path(__file__).parent / "results"
SIZES, BATCH, TARGET = [784, 128, 64, 10], 256, 1.5


def plain_pyro(network: UGMMNetwork, x: Tensor, y: Tensor) -> Callable[[int], None]:
    """Returns what takes steps of SVI on the network's layers with Pyro alone."""

    def model(x: Tensor, y: Tensor) -> None:
        parameters = {}
        for i, layer in enumerate(network.layers):
            zeros = torch.zeros_like(layer.loc)
            loc = pyro.sample(f"loc_{i}", dist.Normal(zeros, 2.0).to_event(2))
            log_scale = pyro.sample(f"log_scale_{i}", dist.Normal(zeros, 1.0).to_event(2))
            parameters |= {f"layers.{i}.loc": loc, f"layers.{i}.scale": log_scale.exp()}
        scores = network(x, parameters)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Categorical(logits=scores), obs=y)

    guide, elbo = AutoNormal(model), Trace_ELBO(max_plate_nesting=1)
    elbo.loss(model, guide, x, y)
    optimizer = torch.optim.Adam([*guide.parameters(), *network.parameters()], fused=True)

    def run(steps: int) -> None:
        with pyro.validation_enabled(False):
            for _ in range(steps):
                optimizer.zero_grad()
                elbo.differentiable_loss(model, guide, x, y).backward()
                optimizer.step()

    return run


def main() -> None:
    """Measures both by turns, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    x = torch.randn(BATCH, SIZES[0], device=options.device)
    y = torch.randint(SIZES[-1], (BATCH,), device=options.device)
    network = UGMMNetwork(SIZES).to(options.device)
    likelihood = UGMMClassifier(network)
    model = UGMMClassifier(network, Priors()).to(options.device)
    guide = mean_field(model)
    runs = {
        "maximum likelihood": lambda n: fit_mle(likelihood, x, y, steps=n, progress=False),
        "SVI": lambda n: fit_svi(model, guide, x, y, steps=n, progress=False),
        "plain Pyro": plain_pyro(UGMMNetwork(SIZES).to(options.device), x, y),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(options.rounds + 1):
        for name, run in runs.items():
            seconds = []
            for n in (1, 1 + options.steps):  # the difference leaves out what is done once
                started = time.perf_counter()
                run(n)
                seconds.append(time.perf_counter() - started)
            if round_:  # the first warms up
                times[name].append((seconds[1] - seconds[0]) / options.steps)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["SVI"] / medians["maximum likelihood"]
    where = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    text = (
        f"A step on {BATCH} rows, network {SIZES}, {where}, {options.threads} threads, medians of "
        f"{options.rounds}: maximum likelihood {1e3 * medians['maximum likelihood']:.0f} ms, SVI "
        f"with a mean-field guide {1e3 * medians['SVI']:.0f} ms, {ratio:.2f} times as long "
        f"(target: at most {TARGET}); with Pyro's AutoNormal and Trace_ELBO alone "
        f"{1e3 * medians['plain Pyro']:.0f} ms, "
        f"{medians['plain Pyro'] / medians['maximum likelihood']:.2f} times. `make bench-svi`\n"
    )
    stem = RESULTS / ("svi" if options.device == "cpu" else f"svi_{options.device}")
    record = {"seconds": times, "medians": medians, "ratio": ratio, "target": TARGET}
    stem.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    stem.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
