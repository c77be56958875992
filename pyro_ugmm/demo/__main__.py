"""Runs the demo: ``python -m pyro_ugmm.demo --help``."""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..datasets import iris
from ..diagnostics import class_probabilities, loo, to_inference_data
from ..nn import UGMMNetwork
from ..sampling import compare_evidence
from ..training import FitResult
from . import ONE_LAYER, figures, sample, train_both


def _write(path: Path, write: Callable[[Path], object]) -> Path:
    """Writes a file whole or not at all."""
    part = path.with_name(f".{path.name}.part{path.suffix}")
    write(part)
    os.replace(part, path)
    return path


def _score(name: str, probs: Tensor, y: Tensor) -> str:
    right = int((probs.argmax(-1) == y).sum())
    log_loss = -probs[torch.arange(len(y)), y].log().mean()
    accuracy = f"accuracy {right / len(y):.3f} ({right} of {len(y)})"
    return f"  {name:<20} {accuracy}   log-loss {log_loss:.3f}"


def _course(result: FitResult) -> str:
    steps = torch.linspace(0, result.n_steps - 1, 6).long().tolist()
    return "   ".join(f"{step}: {-result.losses[step].item():.1f}" for step in steps)


def _left_out(estimate: Any) -> str:
    """What is expected of a row that was left out, and of how many rows that is known."""
    good = int((estimate.pareto_k <= estimate.good_k).sum())
    elpd, error = float(estimate.elpd), float(estimate.se)
    return (
        f"  leave-one-out of one layer: elpd {elpd:.1f} ± {error:.1f}, "
        f"k within {estimate.good_k:.2f} in {good} of {estimate.pareto_k.size} rows\n"
    )


def main(arguments: list[str] | None = None) -> None:
    """Trains, prints and draws."""
    parser = argparse.ArgumentParser(
        prog="python -m pyro_ugmm.demo",
        description="Iris by maximum likelihood, SVI and sequential Monte Carlo.",
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for what it writes")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the trainings")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()

    import matplotlib
    from sklearn.model_selection import train_test_split

    matplotlib.use("Agg")
    data = iris()
    train, test = train_test_split(
        torch.arange(len(data.y)), test_size=0.2, stratify=data.y, random_state=options.seed
    )
    x = (data.x - data.x[train].mean(0)) / data.x[train].std(0)
    x_train, y_train, x_test, y_test = x[train], data.y[train], x[test], data.y[test]

    print(f"Iris: {len(train)} flowers to learn from, {len(test)} held out")
    steps = {"mle_steps": 2000, "svi_steps": 2000}
    trained = train_both(x_train, y_train, options.seed, **steps, progress=True)
    network, mle, model, guide, svi = trained
    print(f"{network}\n\nmaximum likelihood: {mle.reason}\nSVI: {svi.reason}")
    print(f"  ELBO by step   {_course(svi)}\n\nheld out:")
    with torch.no_grad():
        print(_score("maximum likelihood", network(x_test).softmax(-1), y_test))
    print(_score("SVI, 500 draws", class_probabilities(model, guide, x_test).mean(0), y_test))
    likely, one = network.train(), UGMMNetwork(ONE_LAYER)
    sampled, smaller = (
        sample(one_of, x_train, y_train, options.seed, num_particles=512, progress=True)
        for one_of in (likely, one)
    )
    models = {"two layers": sampled, "one layer": smaller}
    for name, found in models.items():
        probabilities = class_probabilities(*found, x_test).mean(0)
        print(_score(f"posterior, {name}", probabilities, y_test))
    print("\nthe posterior by sequential Monte Carlo:")
    print("\n".join(f"  {name}: {found.sample.reason}" for name, found in models.items()))
    print(f"\n{compare_evidence({name: one.sample for name, one in models.items()})}")

    coords = {"input": data.feature_names, "class": data.class_names}
    idata = to_inference_data(*smaller, x_train, y_train, num_samples=512, coords=coords)
    with warnings.catch_warnings():  # of the rows that the line counts
        warnings.simplefilter("ignore", UserWarning)
        print(_left_out(loo(idata)))

    print("wrote", _write(options.out / "iris.nc", idata.to_netcdf))
    for name, figure in {
        "losses": figures.losses(trained),
        "prior_posterior": figures.prior_posterior(smaller.model, idata, data),
        "neurons": figures.neurons(smaller.model, idata, data),
        "uncertainty": figures.uncertainty(*smaller, x_train, y_train, data),
    }.items():
        print("wrote", _write(options.out / f"{name}.png", partial(figure.savefig, dpi=130)))
    print(f"took {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
