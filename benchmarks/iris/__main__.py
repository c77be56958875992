"""Held-out accuracy on Iris by maximum likelihood and by SVI: stratified 5-fold, several seeds.

Writes ``benchmarks/results/iris.json`` and ``iris.md``. Run as ``make bench-iris``.
"""

import argparse
import platform
import time
from typing import Any

import pyro
import torch
from sklearn.model_selection import StratifiedKFold

from pyro_ugmm.datasets import iris
from pyro_ugmm.demo import DROPOUT, SIZES, train_both
from pyro_ugmm.diagnostics import class_probabilities

from ..common.paths import RESULTS
from ..common.results import write_results


def scored(probs: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    """Accuracy and log-loss of class probabilities."""
    return {
        "accuracy": float((probs.argmax(-1) == y).double().mean()),
        "log_loss": float(-probs[torch.arange(len(y)), y].log().mean()),
    }


def one_split(train: Any, test: Any, seed: int) -> dict[str, Any]:
    """Trains on one split both ways and scores the held-out rows."""
    data = iris()
    x = (data.x - data.x[train].mean(0)) / data.x[train].std(0)
    started = time.perf_counter()
    fitted = train_both(x[train], data.y[train], seed)
    seconds = time.perf_counter() - started
    with torch.no_grad():
        likeliest = fitted.network(x[test]).softmax(-1)
    posterior = class_probabilities(fitted.model, fitted.guide, x[test], seed=seed).mean(0)
    return {
        "seconds": seconds,
        "maximum likelihood": scored(likeliest, data.y[test]),
        "SVI": scored(posterior, data.y[test]),
    }


def main() -> None:
    """Runs all splits and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    data = iris()
    splits = []
    for seed in range(options.seeds):
        folds = StratifiedKFold(5, shuffle=True, random_state=seed).split(data.x, data.y)
        for fold, (train, test) in enumerate(folds):
            splits.append(one_split(train, test, seed))
            print(seed, fold, splits[-1], flush=True)
    table = ["| | accuracy (mean) | lowest fold | log-loss (mean) |", "|---|---|---|---|"]
    summary = {}
    for method in ("maximum likelihood", "SVI"):
        accuracy = torch.tensor([split[method]["accuracy"] for split in splits])
        log_loss = torch.tensor([split[method]["log_loss"] for split in splits])
        summary[method] = {
            "accuracy": float(accuracy.mean()),
            "log_loss": float(log_loss.mean()),
            "lowest_accuracy": float(accuracy.min()),
        }
        table.append(
            "| {} | {accuracy:.3f} | {lowest_accuracy:.3f} | {log_loss:.3f} |".format(
                method, **summary[method]
            )
        )
    seconds = float(torch.tensor([split["seconds"] for split in splits]).median())
    record = {
        "sizes": SIZES,
        "dropout": DROPOUT,
        "seeds": options.seeds,
        "median_seconds_to_train_both": seconds,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "pyro": pyro.__version__,
        "summary": summary,
        "splits": splits,
    }
    text = (
        f"Iris, held out, stratified 5-fold, {options.seeds} seeds, network {SIZES}, dropout "
        f"{DROPOUT}; both trainings take {seconds:.0f} s (median). `make bench-iris`\n\n"
        + "\n".join(table)
        + "\n"
    )
    write_results(RESULTS, "iris", record, text)
    print("\n".join(table))


if __name__ == "__main__":
    main()
