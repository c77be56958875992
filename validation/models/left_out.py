"""Rows left out: from a sample, from a guide and by folds, against a posterior without each row."""

import warnings
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from pyro_ugmm.datasets import iris
from pyro_ugmm.diagnostics import kfold, loo, to_inference_data
from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.training import fit_svi

__all__ = ["leave_out", "left_out_lines"]

_QUIET = {"seed": 0, "progress": False}


def _models(every: int) -> dict[str, tuple[Any, tuple[torch.Tensor, ...], Any]]:
    """Models, their data, and starts of their guides."""
    data = iris()
    x = ((data.x - data.x.mean(0)) / data.x.std(0))[::every]
    mixture = BayesianGaussianMixture(2, 4, priors=Priors.from_data(x))
    em = EMFitter(progress=False).fit(x, initialize(x, n_components=2, n_init=10, seed=0))
    torch.manual_seed(0)
    network = UGMMClassifier(UGMMNetwork([4, 3]), Priors())
    return {
        "mixture of two": (mixture, (x,), em.mixture),
        "network [4, 3]": (network, (x, data.y[::every]), None),
    }


def _by_brute_force(model: Any, rows: tuple[torch.Tensor, ...], num_particles: int) -> np.ndarray:
    n_rows, found = len(rows[0]), []
    for row in tqdm(range(n_rows), desc="rows"):
        kept = torch.arange(n_rows) != row
        rest = [part[kept] for part in rows]
        sample = sample_posterior(model, *rest, num_particles=num_particles, **_QUIET)
        terms = model.log_likelihood(*(part[row : row + 1] for part in rows), draws=sample.draws)
        found.append(float(terms.double()[:, 0].logsumexp(0)) - np.log(num_particles))
    return np.array(found)


def leave_out(every: int, num_particles: int) -> dict[str, Any]:
    """Leaves rows of Iris out, of which every so many are taken."""
    found = {}
    for name, (model, rows, start) in _models(every).items():
        guide = mean_field(model) if start is None else mean_field(model, start=start, x=rows[0])
        fit_svi(
            model, guide, *rows, steps=2000, **_QUIET
        )  # and what has no prior is held from here
        exact = _by_brute_force(model, rows, num_particles)
        sample = sample_posterior(model, *rows, num_particles=num_particles, **_QUIET)
        options = {"num_particles": num_particles, **_QUIET}
        with warnings.catch_warnings():  # of high k, which is counted
            warnings.simplefilter("ignore", UserWarning)
            by = {
                "a sample": loo(to_inference_data(model, sample, *rows), model, *rows, **options),
                "a guide": loo(
                    to_inference_data(model, guide, *rows, num_samples=1000, seed=0),
                    model,
                    *rows,
                    **options,
                ),
                "folds of a row": kfold(model, None, *rows, folds=len(exact), **options),
                "ten folds": kfold(model, None, *rows, folds=10, **options),
            }
        found[name] = {"elpd": float(exact.sum()), "n_rows": len(exact)} | {
            way: _compared(one, exact) for way, one in by.items()
        }
    return found


def _compared(one: Any, exact: np.ndarray) -> dict[str, Any]:
    gaps = one.elpd_i.values - exact
    names, counts = np.unique(one.pareto_k.method.values, return_counts=True)
    return {
        "elpd": float(one.elpd),
        "largest gap": float(np.abs(gaps).max()),
        "methods": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "void": int((one.pareto_k > one.good_k).sum()),
    }


def left_out_lines(found: dict[str, Any]) -> list[str]:
    """Writes a section on them."""
    lines = [
        "## Rows left out",
        "",
        "Iris. The truth is the posterior given all other rows, sampled for each row. Ten folds "
        "leave more out than a row, and so give less.",
        "",
        "| model | from | elpd | by brute force | largest gap of a row | rows by method | void |",
        "| :--- | :--- | ---: | ---: | ---: | :--- | ---: |",
    ]
    for model, one in found.items():
        for way in [name for name, value in one.items() if isinstance(value, dict)]:
            part = one[way]
            methods = ", ".join(f"{count} {name}" for name, count in part["methods"].items())
            cells = [model, way, f"{part['elpd']:.1f}", f"{one['elpd']:.1f}"]
            cells += [f"{part['largest gap']:.2f}", methods, str(part["void"])]
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
