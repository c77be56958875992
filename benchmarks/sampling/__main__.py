"""The time of a posterior by sequential Monte Carlo, and what a draw costs within it.

Two networks and three mixtures from their priors, two seeds each; the gradient of 128 draws of
a network; and 32 draws of a layer beside one layer of as many neurons. Writes ``sampling.json`` and
``sampling.md`` to ``benchmarks/results``; of a GPU ``sampling_cuda`` of each. Run as
``make bench-sampling``.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from pyro_ugmm.datasets import iris
from pyro_ugmm.diagnostics import class_probabilities
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.nn.kernels import layer_log_density
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.sampling.target import Target

from ..common.devices import Device
from ..common.options import add_options, checked_device
from ..common.results import stem_for, write_results

PARTICLES, SEEDS = 256, (0, 1)
DRAWS, LAYER, LAYER_DRAWS = 128, (256, 64, 64), 32
MOST_SECONDS, MOST_GRADIENT_MS, MOST_RATIO = 10, 2.5, 1.2


@dataclass(frozen=True)
class Case:
    """A model, and the data that it is given."""

    name: str
    model: Any
    data: tuple[Tensor, ...]
    held_out: tuple[Tensor, Tensor] | None = None


def cases(device: str) -> list[Case]:
    """The models: networks on four fifths of Iris, mixtures of two clusters and of Iris."""
    x, y, *_ = iris()
    train, test = train_test_split(torch.arange(150), test_size=0.2, stratify=y, random_state=0)
    x = ((x - x[train].mean(0)) / x[train].std(0)).to(device)
    y = y.to(device)
    learned, held_out = (x[train], y[train]), (x[test], y[test])
    found = []
    for sizes in ([4, 3], [4, 8, 3]):
        torch.manual_seed(0)
        model = UGMMClassifier(UGMMNetwork(sizes, normalization="none"), Priors(weights=1.0)).to(
            device
        )
        found.append(Case(f"network {sizes}, Iris", model, learned, held_out))
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 2, generator=generator)
    rows[100:] += 5
    rows = rows.to(device)
    for n_components in (2, 3):
        model = BayesianGaussianMixture(n_components, 2, priors=Priors.from_data(rows)).to(device)
        found.append(Case(f"mixture of {n_components}, 200 x 2 in two clusters", model, (rows,)))
    flowers = iris().x.to(device)
    model = BayesianGaussianMixture(2, 4, priors=Priors.from_data(flowers)).to(device)
    found.append(Case("mixture of 2, Iris", model, (flowers,)))
    return found


def measure(case: Case, seed: int, num_particles: int) -> dict[str, Any]:
    """Samples a posterior, and says what came of it."""
    sample = sample_posterior(
        case.model, *case.data, num_particles=num_particles, seed=seed, progress=False
    )
    found = {
        "case": case.name,
        "seed": seed,
        "seconds": sample.seconds,
        "gradients": sum(rung.n_gradients for rung in sample.rungs),
        "temperatures": len(sample.rungs),
        "log_evidence": sample.log_evidence,
        "log_evidence_error": sample.log_evidence_error,
        "r_hat": max(sample.r_hat.values()),
        "status": sample.status.name,
    }
    if case.held_out is not None:
        x, y = case.held_out
        shares = class_probabilities(case.model, sample, x).mean(0)
        found["log_loss"] = float(-shares[torch.arange(len(y)), y.cpu()].log().mean())
    return found


def median_ms(call: Callable[[], object], device: Device, repetitions: int) -> float:
    """The median time of a call, until the device has done it."""
    times = []
    for _ in range(repetitions + 1):
        started = time.perf_counter()
        call()
        device.synchronize()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times[1:])


def gradient_ms(device: Device, where: str, repetitions: int) -> float:
    """The time of the gradients of many draws of a network's log posterior."""
    case = cases(where)[1]
    with pyro.validation_enabled(False):
        target = Target(case.model, case.data)
        position = target.start(DRAWS).position
        return median_ms(lambda: target.path.at(position, 1.0), device, repetitions)


def layer_ms(device: Device, where: str, repetitions: int) -> tuple[float, float]:
    """Forward and backward of draws of a layer, and of one layer of as many neurons."""
    n_rows, n_inputs, n_neurons = LAYER
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n_rows, n_inputs, generator=generator).to(where)

    def call(*shape: int) -> Callable[[], object]:
        loc, scale, weight = (torch.randn(shape, generator=generator).to(where) for _ in range(3))
        parameters = [t.requires_grad_() for t in (loc, scale.abs() + 0.5, weight.log_softmax(-1))]
        out = layer_log_density(x, *parameters)
        grad = torch.ones_like(out)
        return lambda: torch.autograd.grad(layer_log_density(x, *parameters), parameters, grad)

    draws = call(LAYER_DRAWS, 1, n_neurons, n_inputs)
    whole = call(LAYER_DRAWS * n_neurons, n_inputs)
    return median_ms(draws, device, repetitions), median_ms(whole, device, repetitions)


def report(record: dict[str, Any]) -> str:
    """The results as Markdown."""
    head = ("seed", "s", "gradients", "temperatures", "log evidence", "R-hat", "log-loss held out")
    lines = [
        f"{record['setting']} {record['num_particles']} particles in 4 populations, from the "
        f"prior. `{record['command']}`",
        "",
        "| model | " + " | ".join(head) + " |",
        "| :--- |" + " ---: |" * len(head),
    ]
    for run in record["runs"]:
        loss = f"{run['log_loss']:.3f}" if "log_loss" in run else ""
        evidence = f"{run['log_evidence']:.2f} ± {run['log_evidence_error']:.2f}"
        cells = [run["seed"], f"{run['seconds']:.1f}", run["gradients"], run["temperatures"]]
        cells += [evidence, f"{run['r_hat']:.3f}", loss]
        lines.append(f"| {run['case']} | " + " | ".join(map(str, cells)) + " |")
    draws, whole = record["layer_ms"]
    lines += [
        "",
        f"Gradients of {DRAWS} draws of the network [4, 8, 3] on 120 rows: "
        f"{record['gradient_ms']:.2f} ms (target: at most {MOST_GRADIENT_MS}). "
        f"{LAYER_DRAWS} draws of a layer of {' x '.join(map(str, LAYER))}, forward and backward: "
        f"{draws:.1f} ms, {draws / whole:.2f} times one layer of as many terms (target: at most "
        f"{MOST_RATIO}). A posterior is to take at most {MOST_SECONDS} s.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measures, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    options = parser.parse_args()
    device = checked_device(parser, options)
    num_particles = 16 if options.quick else PARTICLES
    repetitions = 2 if options.quick else 30
    torch.set_num_threads(1)
    record: dict[str, Any] = {
        "gradient_ms": gradient_ms(device, options.device, repetitions),
        "layer_ms": layer_ms(device, options.device, repetitions),
    }
    torch.set_num_threads(options.threads)
    on_cpu = device.kind == "cpu"
    threads = f", {options.threads} threads (draws: one)" if on_cpu else ""
    record["setting"] = f"{device.name()}{threads}, float32."
    record["command"] = "make bench-sampling" if on_cpu else "make bench-gpu"
    record["num_particles"], record["runs"] = num_particles, []
    for case in cases(options.device):
        for seed in SEEDS[: 1 if options.quick else None]:
            record["runs"].append(measure(case, seed, num_particles))
            print(record["runs"][-1], flush=True)
    text = report(record)
    write_results(options.out, stem_for("sampling", options.device), record, text)
    print(text)


if __name__ == "__main__":
    main()
