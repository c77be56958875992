"""Held-out accuracy on Iris of a network that scores features and label together: 5-fold, 2 seeds.

The paper's network and task, its score objective and the conditional one, by maximum likelihood
and by SVI. Writes ``benchmarks/results/iris_density.json`` and ``.md``. Run as
``make bench-density``.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from sklearn.model_selection import StratifiedKFold

from pyro_ugmm.datasets import iris
from pyro_ugmm.diagnostics import class_probabilities
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMDensity
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_mle, fit_svi

from ..common.paths import RESULTS
from ..common.results import write_results

SIZES = [5, 10, 5, 1]
PUBLISHED = 0.767  # the published code's score objective, held out on 5 folds twice
# Dropout, floors and the learning rate of SVI were looked at on seeds 10 and 11; at a learning rate
# of 0.1 two folds of seed 0 had been seen as well.
_LEARNING_RATE = 0.05
SETTINGS: dict[str, dict[str, Any]] = {
    "conditional": {"min_scale": 1e-4, "dropout": 0.2, "steps": 1000},
    "score": {"min_scale": 1e-4, "dropout": 0.0, "steps": 1000},
    "score, floor 0.1": {"min_scale": 0.1, "dropout": 0.0, "steps": 1000},
}


def one_split(train: Any, test: Any, seed: int, names: list[str]) -> dict[str, float]:
    """Trains on one split in every way; returns the accuracy on held-out rows."""
    data = iris()
    x = (data.x - data.x[train].mean(0)) / data.x[train].std(0)
    y, found = data.y, {}
    for name in names:
        setting = SETTINGS[name]
        objective = name.split(",")[0]
        torch.manual_seed(seed)
        network = UGMMNetwork(
            SIZES, setting["dropout"], min_scale=setting["min_scale"], normalization="none"
        )
        network.reset_parameters(UGMMDensity(network, 3).inputs(x[train], y[train]))
        model = UGMMDensity(network, 3, objective=objective)
        fit_mle(
            model,
            x[train],
            y[train],
            steps=setting["steps"],
            learning_rate=0.02,
            seed=seed,
            progress=False,
        )
        model.eval()
        with torch.no_grad():
            predicted = model.scores(x[test]).argmax(-1)
        found[f"{name}, maximum likelihood"] = float((predicted == y[test]).double().mean())
        if name != objective:
            continue
        model = UGMMDensity(model.network, 3, Priors(), objective=objective)
        guide = mean_field(model)
        fit_svi(
            model,
            guide,
            x[train],
            y[train],
            learning_rate=_LEARNING_RATE,
            seed=seed,
            progress=False,
        )
        predicted = class_probabilities(model, guide, x[test], seed=seed).mean(0).argmax(-1)
        found[f"{name}, SVI"] = float((predicted == y[test]).double().mean())
    return found


def main() -> None:
    """Runs all splits and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", choices=list(SETTINGS), nargs="+", default=list(SETTINGS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    data = iris()
    splits = []
    for seed in options.seeds:
        folds = StratifiedKFold(5, shuffle=True, random_state=seed).split(data.x, data.y)
        for train, test in folds:
            splits.append(one_split(train, test, seed, options.only))
            print(seed, splits[-1], flush=True)
    lines = ["| | accuracy (mean) | lowest fold |", "|---|---|---|"]
    summary = {}
    for name in splits[0]:
        accuracy = torch.tensor([split[name] for split in splits])
        summary[name] = {"mean": float(accuracy.mean()), "lowest": float(accuracy.min())}
        lines.append(f"| {name} | {accuracy.mean():.3f} | {accuracy.min():.3f} |")
    options.out.mkdir(parents=True, exist_ok=True)
    record = {"sizes": SIZES, "settings": SETTINGS, "seeds": options.seeds, "summary": summary}
    record["splits"] = splits
    text = (
        f"Iris, held out, stratified 5-fold, {len(options.seeds)} seeds, network {SIZES} of the "
        f"features and the label; the published code, by its score objective, measured likewise: "
        f"{PUBLISHED}. `make bench-density`\n\n" + "\n".join(lines) + "\n"
    )
    write_results(options.out, "iris_density", record, text)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
