"""Runs the demo: ``python -m pyro_ugmm.demo --help``."""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from .. import __version__
from . import figures, mixture, report
from .network import train_both, train_regression
from .table import DemoTable, iris_table, read_table

_HELD_OUT = 0.2


def _write(path: Path, write: Callable[[Path], object]) -> Path:
    """Writes a file whole or not at all."""
    part = path.with_name(f".{path.name}.part{path.suffix}")
    write(part)
    os.replace(part, path)
    return path


def _parsed(arguments: list[str] | None) -> tuple[argparse.Namespace, DemoTable]:
    parser = argparse.ArgumentParser(
        prog="python -m pyro_ugmm.demo",
        description="A mixture, its posterior and a network, of Iris or of a table of yours.",
    )
    parser.add_argument("--data", type=Path, help="a file of comma-separated values")
    parser.add_argument("--target", help="its column to predict, of classes or numbers")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for what it writes")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of all fits")
    options = parser.parse_args(arguments)
    if (options.data is None) != (options.target is None):
        parser.error("--data and --target go together")
    try:
        table = read_table(options.data, options.target) if options.data else iris_table()
    except ValueError as error:
        parser.error(str(error))
    options.out.mkdir(parents=True, exist_ok=True)
    return options, table


def _split(table: DemoTable, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to learn from, and rows held out."""
    order = torch.randperm(len(table.y), generator=torch.Generator().manual_seed(seed))
    held_out, learned = order.tensor_split([round(_HELD_OUT * len(order))])
    return learned, held_out


def _predict(table: DemoTable, seed: int) -> tuple[str, dict]:
    """A network that predicts the target; what it says, and its picture."""
    learned, held_out = _split(table, seed)
    x, y = table.standardized(learned), table.y
    test = x[held_out], y[held_out]
    if table.class_names:
        sizes = [x.shape[1], 8, len(table.class_names)]
        trained = train_both(x[learned], y[learned], seed, sizes=sizes, progress=True)
        said = report.of_network(trained, *test)
        pictures = {
            "neurons": figures.neurons(trained, table),
            "uncertainty": figures.uncertainty(trained, x[learned], y[learned], table),
        }
        return said, pictures
    held_back, rest = learned.tensor_split([len(learned) // 4])
    trained = train_regression(x[rest], y[rest], seed, progress=True)
    said = report.of_regression(trained, (x[held_back], y[held_back]), *test)
    pictures = {
        "neurons": figures.neurons(trained, table),
        "regression": figures.regression(trained, *test, table),
    }
    return said, pictures


def main(arguments: list[str] | None = None) -> None:
    """Fits, prints and draws."""
    options, table = _parsed(arguments)
    started = time.perf_counter()

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    print(report.introduction(table, __version__), flush=True)

    print(report.heading(1, "A mixture of the features, by EM"), flush=True)
    chosen = mixture.by_em(table, options.seed, progress=True)
    print(report.of_mixture(chosen))

    print(report.heading(2, "The same with priors, by sequential Monte Carlo"), flush=True)
    found = mixture.posterior_of(table, chosen, options.seed, progress=True)
    print(report.of_posterior(found))

    print(
        report.heading(3, f"A network of mixture neurons that predicts {table.target}"), flush=True
    )
    said, pictures = _predict(table, options.seed)
    print(said)

    print(report.heading(4, "Written"))
    stem = table.name.lower().removesuffix(".csv").replace(" ", "_")
    print(_write(options.out / f"{stem}.nc", found.idata.to_netcdf), "for ArviZ")
    pictures = {
        "selection": figures.selection(chosen),
        "mixture": figures.mixture(chosen, table),
        "density": figures.density(found),
        **pictures,
    }
    for name, figure in pictures.items():
        print(_write(options.out / f"{name}.png", partial(figure.savefig, dpi=130)))
        plt.close(figure)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
