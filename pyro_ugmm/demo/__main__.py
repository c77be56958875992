"""Runs the demo: ``python -m pyro_ugmm.demo --help``."""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..datasets import iris
from ..diagnostics import class_probabilities, loo, pareto_k, to_inference_data
from ..training import FitResult
from . import figures, train_both


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


def main(arguments: list[str] | None = None) -> None:
    """Trains, prints and draws."""
    parser = argparse.ArgumentParser(
        prog="python -m pyro_ugmm.demo",
        description="Iris by maximum likelihood and by SVI, and the posterior examined.",
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
    trained = train_both(x_train, y_train, options.seed, svi_steps=2000, progress=True)
    network, mle, model, guide, svi = trained
    print(f"{network}\n\nmaximum likelihood: {mle.reason}\nSVI: {svi.reason}")
    print(f"  ELBO by step   {_course(svi)}\n\nheld out:")
    with torch.no_grad():
        print(_score("maximum likelihood", network(x_test).softmax(-1), y_test))
    print(_score("SVI, 500 draws", class_probabilities(model, guide, x_test).mean(0), y_test))

    coords = {"input": data.feature_names, "class": data.class_names}
    idata = to_inference_data(model, guide, x_train, y_train, num_samples=1000, coords=coords)
    left_out = loo(idata)
    print("\nleave-one-out, over the rows learned from, corrected by log p and log q:")
    print(left_out)
    if left_out["warning"]:
        print("  (do not trust rows of a bad k; the rows held out, above, say more)")
    k, verdict = pareto_k(idata)
    print(f"Pareto k of the guide: {k:.2f}: {verdict}\n")

    print("wrote", _write(options.out / "iris.nc", idata.to_netcdf))
    for name, figure in {
        "losses": figures.losses(trained),
        "prior_posterior": figures.prior_posterior(model, idata, data),
        "neurons": figures.neurons(model, idata),
        "uncertainty": figures.uncertainty(model, guide, x_train, y_train, data),
    }.items():
        print("wrote", _write(options.out / f"{name}.png", partial(figure.savefig, dpi=130)))
    print(f"took {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
