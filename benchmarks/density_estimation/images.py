"""Densities of MNIST's images by those left out: diagonal, low rank, products of neurons.

Writes ``density_mnist.json`` and ``.md`` to ``benchmarks/results``. Run as ``make
bench-density-mnist MNIST=folder``, of its IDX files.
"""

import argparse
import math
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_ugmm.datasets import mnist
from pyro_ugmm.em import EMFitter, UGMMFitter, initialize, initialize_ugmm

from ..common.devices import processor
from ..common.paths import RESULTS
from ..common.results import write_results
from ..common.tables import table

N_TRAIN, N_CHOICE, N_HELD_OUT = 5_000, 1_000, 2_000
FLOORS = (0.1, 1.0, 10.0)
SETTINGS: dict[str, Any] = {"tol": 1.0, "max_iter": 60, "progress": False}


def images(folder: Path, count: int, *, train: bool) -> Tensor:
    """The first images, in gray levels from 0 to 256, with uniform noise as wide as a level."""
    levels = (mnist(folder, train=train, dtype=torch.float64).x[:count] * 255).round()
    generator = torch.Generator().manual_seed(int(train))
    noise = torch.rand(levels.shape, generator=generator, dtype=torch.float64)
    return (levels + noise).float()


def diagonal(x: Tensor, reg_covar: float, size: int) -> Any:
    """A mixture with diagonal covariances."""
    return EMFitter(reg_covar=reg_covar, **SETTINGS).fit(x, initialize(x, size, "diagonal", seed=0))


def low_rank(x: Tensor, reg_covar: float, size: int, rank: int) -> Any:
    """A mixture of factor analyzers."""
    start = initialize(x, size, "low_rank", rank=rank, seed=0)
    return EMFitter(reg_covar=reg_covar, **SETTINGS).fit(x, start)


def products(x: Tensor, reg_covar: float, size: int, count: int) -> Any:
    """A mixture over products of neurons with so many Gaussians."""
    return UGMMFitter(reg_covar=reg_covar, **SETTINGS).fit(
        x, initialize_ugmm(x, size, count, seed=0)
    )


CONTENDERS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "diagonal": (diagonal, [(10,), (40,)]),
    "low rank": (low_rank, [(10, 8), (10, 16)]),
    "UGMMMixture": (products, [(10, 2), (10, 3)]),
}
"""What fits, and the sizes to choose from."""


def measured(parts: tuple[Tensor, Tensor, Tensor], n_sizes: int | None) -> list[dict[str, Any]]:
    """All fits to the first images, and how the others fit them."""
    x, choice, held_out = parts
    found = []
    for name, (fit, sizes) in CONTENDERS.items():
        for size, floor in product(sizes[:n_sizes], FLOORS):
            started = time.perf_counter()
            result = fit(x, floor, *size)
            seconds = time.perf_counter() - started
            values = result.mixture.log_prob(held_out).double()
            one = {
                "method": name,
                "size": list(size),
                "reg_covar": floor,
                "choice": float(result.mixture.log_prob(choice).double().mean()),
                "mean": float(values.mean()),
                "error": float(values.std() / len(values) ** 0.5),
                "n_parameters": result.mixture.n_parameters,
                "converged": bool(result.converged),
                "seconds": seconds,
            }
            print(one, flush=True)
            found.append(one)
    return found


def report(record: dict[str, Any]) -> str:
    """The table of all fits, with each method's choice marked."""
    chosen = {
        name: max(
            (one for one in record["fits"] if one["method"] == name), key=lambda one: one["choice"]
        )
        for name in CONTENDERS
    }
    rows = []
    for one in record["fits"]:
        bits = -one["mean"] / record["n_features"] / math.log(2)
        name = f"{one['method']}, {' x '.join(map(str, one['size']))}"
        mark = ", chosen" if one in chosen.values() else ""
        cells = f"{one['reg_covar']:g}", f"{one['mean']:,.0f} ± {one['error']:.0f}", f"{bits:.3f}"
        parameters, seconds = f"{one['n_parameters']:,}", f"{one['seconds']:.0f}"
        rows.append([name + mark, *cells, parameters, seconds, "" if one["converged"] else "no"])
    heads = [
        "",
        "reg_covar",
        "nats per image",
        "bits per pixel",
        "parameters",
        "seconds",
        "converged",
    ]
    return "\n".join(["# Densities of images", "", _words(record), "", *table(heads, rows)]) + "\n"


def _words(record: dict[str, Any]) -> str:
    return (
        f"Mean log-likelihood of {record['n_held_out']:,} of MNIST's test images, ± its standard "
        f"error, of fits to {record['n_train']:,} training images, in gray levels with uniform "
        "noise as wide as one (so that values are not tied). Sizes are components, by the rank or "
        "the Gaussians per neuron. Of each method the size and `reg_covar`, in squared gray "
        f"levels, are chosen by {record['n_choice']:,} other training images. One start by k-means "
        f"and at most {SETTINGS['max_iter']} iterations, `tol` {SETTINGS['tol']:g} nat, float32, "
        f"{record['threads']} thread, on a machine with other work. The mean at the least "
        "`reg_covar` hangs on few images, with light where none of the training images has any, "
        "and so does a choice of it. "
        "`make bench-density-mnist MNIST=folder`"
    )


def main() -> None:
    """Measures all sizes, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of MNIST's IDX files")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this program")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    counts = (200, 50, 50) if options.quick else (N_TRAIN, N_CHOICE, N_HELD_OUT)
    x = images(options.folder, counts[0] + counts[1], train=True)
    parts = x[: counts[0]], x[counts[0] :], images(options.folder, counts[2], train=False)
    record = {
        **dict(zip(("n_train", "n_choice", "n_held_out"), counts, strict=True)),
        "n_features": x.shape[1],
        "settings": SETTINGS,
        "machine": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "fits": measured(parts, 1 if options.quick else None),
    }
    write_results(options.out, "density_mnist", record, report(record))
    print(report(record))


if __name__ == "__main__":
    main()
