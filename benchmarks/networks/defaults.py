"""Settings of networks and trainings, compared with logistic regression on held-out rows.

Writes ``networks_defaults.json`` and ``.md`` to ``benchmarks/results``, after each data set; those
that are not measured now are kept. Run as ``make bench-defaults``.
"""

import argparse
import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ugmm.diagnostics import class_probabilities
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_mle, fit_svi

from ..common.paths import RESULTS
from ..common.results import write_results
from ..common.tables import table
from .choosing import CHOOSING, REPORTED
from .contenders import CONTENDERS, LOGISTIC
from .data import Classes, split
from .measure import scored
from .settings import QUICK, SETTINGS, Settings
from .summaries import differences

STEM, N_SPLITS = "networks_defaults", 3
SVI = ", then SVI"
MOST_LOST = 0.005


@dataclass(frozen=True)
class Recipe:
    """A network's options, the rate of its training, and priors in SVI."""

    network: dict[str, Any] = field(default_factory=dict)
    rate: float = 0.05
    priors: Priors = field(default_factory=Priors)
    is_of_svi: bool = False


_DROPOUT, _PLAIN = {"dropout": 0.2}, {"normalization": "none"}
RECIPES = {
    "defaults": Recipe(),
    "dropout 0.2": Recipe(_DROPOUT),
    "floor 0.5": Recipe({"min_scale": 0.5}),
    "no normalization": Recipe(_PLAIN),
    "rate 0.02": Recipe(rate=0.02),
    "rate 0.1": Recipe(rate=0.1),
    "no normalization, rate 0.02": Recipe(_PLAIN, rate=0.02),
    "dropout 0.1": Recipe({"dropout": 0.1}),
    "weights Dirichlet(0.3)": Recipe(priors=Priors(weights=0.3), is_of_svi=True),
    "means Normal(0, 4)": Recipe(priors=Priors(means=dist.Normal(0.0, 4.0)), is_of_svi=True),
}
"""What is compared, by its difference from the library's defaults."""


def answers(recipe: Recipe, rows: Classes, x: Tensor, settings: Settings, seed: int) -> list[Any]:
    """The class probabilities of rows by maximum likelihood, and by SVI from there."""
    torch.manual_seed(seed)
    sizes = [rows.x.shape[1], settings.hidden, rows.n_classes]
    model = UGMMClassifier(UGMMNetwork(sizes, **recipe.network))
    run: dict[str, Any] = {"steps": settings.steps, "seed": seed, "progress": False}
    run["batch_size"] = min(settings.batch_size, len(rows.y))
    fit_mle(model, rows.x, rows.y, learning_rate=recipe.rate, **run)
    network = model.network.eval()
    with torch.no_grad():
        likeliest = network(x).softmax(-1)
    bayesian = UGMMClassifier(network, recipe.priors)
    guide = mean_field(bayesian)
    fit_svi(bayesian, guide, rows.x, rows.y, **run)
    drawn = class_probabilities(bayesian, guide, x, settings.draws, seed=0)
    return [likeliest, drawn.mean(0)]


def measured(
    rows: Classes, recipes: list[str], n_splits: int, settings: Settings
) -> dict[str, list[dict[str, float]]]:
    """The scores of recipes and of logistic regression on each split."""
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(n_splits):
        part = split(rows, seed)
        x, y = part.units.standardized(part.test.x), part.test.y
        logistic = CONTENDERS[LOGISTIC](part.known, settings, seed)
        found.setdefault(LOGISTIC, []).append(scored(logistic(x), y))
        for name in recipes:
            by_both = answers(RECIPES[name], part.known, x, settings, seed)
            for end, probabilities in zip(("", SVI), by_both, strict=True):
                found.setdefault(name + end, []).append(scored(probabilities, y))
    return found


def _gap(found: dict[str, Any], name: str, measure: str) -> tuple[float, float]:
    ours, theirs = ([one[measure] for one in found[which]] for which in (name, LOGISTIC))
    return differences(ours, theirs)


def _table(data: dict[str, Any], end: str, measure: str) -> list[str]:
    """A row for each recipe measured on all data sets, which have a column each."""
    rows = []
    for name, recipe in RECIPES.items():
        is_whole = all(name in found for found in data.values())
        if not is_whole or (not end and recipe.is_of_svi):
            continue
        gaps = [_gap(found, name + end, measure) for found in data.values()]
        means = [mean for mean, _ in gaps]
        error = statistics.stdev(means) / len(means) ** 0.5 if len(means) > 1 else 0.0
        total = f"{statistics.mean(means):+.3f} ± {error:.3f}"
        reach = sum(mean >= -MOST_LOST for mean in means)
        reached = [f"{reach} of {len(means)}"] if measure == "accuracy" else []
        rows.append([name, total, *reached, *(f"{mean:+.3f} ± {err:.3f}" for mean, err in gaps)])
    columns = [f"within {MOST_LOST}"] if measure == "accuracy" else []
    return table(["", "mean", *columns, *data], rows)


def report(record: dict[str, Any]) -> str:
    """Differences from logistic regression, by maximum likelihood and by SVI."""
    lines = [
        "## Defaults of networks",
        "",
        f"Networks with {record['hidden']} hidden neurons and {record['steps']} steps, as above, "
        f"less logistic regression on the same {record['n_splits']} splits; ± standard errors. "
        "SVI goes on from maximum likelihood, with the default priors and rate. A recipe is named "
        "by what differs from the defaults: no dropout, a floor of 0.0001 under the scales, "
        "normalization between layers, a rate of 0.05, and in SVI no prior over weights. They "
        "were chosen on the data sets to choose on, and on 3,000 images of MNIST. *Linear* and "
        "*xor* are synthetic. `make bench-defaults`",
        "",
    ]
    for title, part in (("to choose on", CHOOSING), ("reported", REPORTED)):
        data = {name: record["data"][name] for name in part if name in record["data"]}
        if not data:
            continue
        for end, way in (("", "maximum likelihood"), (SVI, "SVI")):
            for measure, words in (("accuracy", "Accuracy"), ("log_loss", "Log-loss")):
                lines += [f"{words} by {way}, data sets {title}:", ""]
                lines += [*_table(data, end, measure), ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Measures data sets, and writes the results after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*CHOOSING, *REPORTED]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="data sets")
    parser.add_argument("--recipes", nargs="+", choices=[*RECIPES], default=[*RECIPES])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this program")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    settings = QUICK if options.quick else SETTINGS
    file, n_splits = options.out / f"{STEM}.json", 2 if options.quick else N_SPLITS
    options.out.mkdir(parents=True, exist_ok=True)
    said = {"hidden": settings.hidden, "steps": settings.steps, "n_splits": n_splits}
    for name in options.only:
        found = measured((CHOOSING | REPORTED)[name](), options.recipes, n_splits, settings)
        record = json.loads(file.read_text()) if file.exists() else {}
        same = all(record.get(key) == value for key, value in said.items())
        data = record["data"] if same else {}
        data[name] = data.get(name, {}) | found
        record = said | {"data": {one: data[one] for one in names if one in data}}
        write_results(options.out, STEM, record, report(record))
        print(name, flush=True)


if __name__ == "__main__":
    main()
