"""The time of a step of SVI with a mean-field guide, in steps of maximum likelihood.

Beside them plain Pyro: ``AutoNormal`` and ``Trace_ELBO`` on the same layers, with nothing of ours
but these, normal priors on means and log scales, and no stopping rule; about the least that a step
through Pyro costs.

Writes ``svi.json`` and ``svi.md`` to ``benchmarks/results``; of a GPU ``svi_cuda`` of each. Run as
``make bench-svi``, or ``make bench-gpu``.
"""

import argparse
import statistics
import time
from collections.abc import Callable

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

from ..common.devices import Device
from ..common.options import add_options, checked_device
from ..common.results import stem_for, write_results

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


def times_of(
    runs: dict[str, Callable[[int], object]], device: Device, steps: int, rounds: int
) -> dict[str, list[float]]:
    """The seconds of a step of each, by turns, until the device has done it."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 1):
        for name, run in runs.items():
            seconds = []
            for n in (1, 1 + steps):  # the difference leaves out what is done once
                device.synchronize()
                started = time.perf_counter()
                run(n)
                device.synchronize()
                seconds.append(time.perf_counter() - started)
            if round_:  # the first warms up
                times[name].append((seconds[1] - seconds[0]) / steps)
    return times


def report(medians: dict[str, float], ratio: float, where: str, command: str) -> str:
    """The results in words."""
    milliseconds = {name: 1e3 * seconds for name, seconds in medians.items()}
    shown = {name: f"{x:.1f} ms" if x < 10 else f"{x:.0f} ms" for name, x in milliseconds.items()}
    return (
        f"A step on {BATCH} rows, network {SIZES}, {where}: maximum likelihood "
        f"{shown['maximum likelihood']}, SVI with a mean-field guide {shown['SVI']}, {ratio:.2f} "
        f"times as long (target: at most {TARGET}); with Pyro's AutoNormal and Trace_ELBO alone "
        f"{shown['plain Pyro']}, {medians['plain Pyro'] / medians['maximum likelihood']:.2f} "
        f"times. `{command}`\n"
    )


def main() -> None:
    """Measures all by turns, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    device = checked_device(parser, options)
    steps, rounds = (2, 2) if options.quick else (options.steps, options.rounds)
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
    times = times_of(runs, device, steps, rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["SVI"] / medians["maximum likelihood"]
    on_cpu = device.kind == "cpu"
    where = f"CPU, {options.threads} threads" if on_cpu else device.name()
    command = "make bench-svi" if on_cpu else "make bench-gpu"
    text = report(medians, ratio, f"{where}, medians of {rounds}", command)
    record = {"device": device.name(), "seconds": times, "medians": medians}
    record |= {"ratio": ratio, "target": TARGET}
    write_results(options.out, stem_for("svi", options.device), record, text)
    print(text)


if __name__ == "__main__":
    main()
