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
from typing import Any, NamedTuple

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


class Case(NamedTuple):
    """A network, the rows of a step, and how many steps of maximum likelihood one may take."""

    sizes: list[int]
    n_rows: int
    target: float


CASES = [Case([784, 128, 64, 10], 256, 1.25), Case([4, 8, 3], 150, 1.7)]


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

    pyro.clear_param_store()  # of another network's
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


def measured(case: Case, device: Device, options: argparse.Namespace) -> dict[str, Any]:
    """Measures a network by turns."""
    steps, rounds = (2, 2) if options.quick else (options.steps, options.rounds)
    sizes, at = case.sizes, options.device
    x = torch.randn(case.n_rows, sizes[0], device=at)
    y = torch.randint(sizes[-1], (case.n_rows,), device=at)
    network = UGMMNetwork(sizes, normalization="none").to(at)
    likelihood = UGMMClassifier(network)
    model = UGMMClassifier(network, Priors()).to(at)
    guide = mean_field(model)
    runs = {
        "maximum likelihood": lambda n: fit_mle(likelihood, x, y, steps=n, progress=False),
        "SVI": lambda n: fit_svi(model, guide, x, y, steps=n, progress=False),
        "plain Pyro": plain_pyro(UGMMNetwork(sizes, normalization="none").to(at), x, y),
    }
    times = times_of(runs, device, steps, rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {name: seconds / medians["maximum likelihood"] for name, seconds in medians.items()}
    return case._asdict() | {"seconds": times, "medians": medians, "ratios": ratios}


def report(cases: list[dict[str, Any]], where: str, command: str) -> str:
    """The results in words."""
    lines = [f"A step of SVI with a mean-field guide, {where}. `{command}`\n"]
    for case in cases:
        shown = {name: f"{1e3 * seconds:.2f} ms" for name, seconds in case["medians"].items()}
        lines.append(
            f"- network {case['sizes']} on {case['n_rows']} rows: maximum likelihood "
            f"{shown['maximum likelihood']}, SVI {shown['SVI']}, {case['ratios']['SVI']:.2f} "
            f"times as long (target: at most {case['target']}); with Pyro's AutoNormal and "
            f"Trace_ELBO alone {shown['plain Pyro']}, {case['ratios']['plain Pyro']:.2f} times"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures all, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    device = checked_device(parser, options)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    cases = [measured(case, device, options) for case in CASES]
    on_cpu = device.kind == "cpu"
    where = f"CPU, {options.threads} threads" if on_cpu else device.name()
    command = "make bench-svi" if on_cpu else "make bench-gpu"
    text = report(cases, f"{where}, medians of {options.rounds}", command)
    record = {"device": device.name(), "cases": cases}
    write_results(options.out, stem_for("svi", options.device), record, text)
    print(text)


if __name__ == "__main__":
    main()
