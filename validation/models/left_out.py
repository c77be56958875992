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

__all__ = ["MODELS", "leave_out", "left_out_lines"]

_QUIET = {"seed": 0, "progress": False}


MODELS = MIXTURE, NETWORK = "mixture of two", "network [4, 3]"


def _model(name: str, every: int) -> tuple[Any, tuple[torch.Tensor, ...], Any]:
    """A model, its data, and the start of its guide."""
    data = iris()
    x = ((data.x - data.x.mean(0)) / data.x.std(0))[::every]
    if name == MIXTURE:
        em = EMFitter(progress=False).fit(x, initialize(x, n_components=2, n_init=10, seed=0))
        return BayesianGaussianMixture(2, 4, priors=Priors.from_data(x)), (x,), em.mixture
    torch.manual_seed(0)
    return UGMMClassifier(UGMMNetwork([4, 3]), Priors()), (x, data.y[::every]), None


def _by_brute_force(model: Any, rows: tuple[torch.Tensor, ...], num_particles: int) -> np.ndarray:
    n_rows, found = len(rows[0]), []
    for row in tqdm(range(n_rows), desc="rows"):
        kept = torch.arange(n_rows) != row
        rest = [part[kept] for part in rows]
        sample = sample_posterior(model, *rest, num_particles=num_particles, **_QUIET)
        terms = model.log_likelihood(*(part[row : row + 1] for part in rows), draws=sample.draws)
        found.append(float(terms.double()[:, 0].logsumexp(0)) - np.log(len(terms)))
    return np.array(found)


def leave_out(name: str, every: int, num_particles: int) -> dict[str, Any]:
    """Leaves rows of Iris out, of which every so many are taken."""
    model, rows, start = _model(name, every)
    guide = mean_field(model) if start is None else mean_field(model, start=start, x=rows[0])
    # After this what has no prior stays where it is.
    fit_svi(model, guide, *rows, steps=2000, **_QUIET)
    exact = _by_brute_force(model, rows, num_particles)
    options = {"num_particles": num_particles, **_QUIET}
    sample = sample_posterior(model, *rows, **options)
    drawn = to_inference_data(model, guide, *rows, num_samples=1000, seed=0)
    with warnings.catch_warnings():  # of high k, which is counted
        warnings.simplefilter("ignore", UserWarning)
        by = {
            "a sample": loo(to_inference_data(model, sample, *rows), model, *rows, **options),
            "a guide": loo(drawn, model, *rows, **options),
            "folds of a row": kfold(model, None, *rows, folds=len(exact), **options),
            "ten folds": kfold(model, None, *rows, folds=10, **options),
        }
    sizes = {"elpd": float(exact.sum()), "n_rows": len(exact), "num_particles": num_particles}
    return sizes | {way: _compared(one, exact) for way, one in by.items()}


def _compared(one: Any, exact: np.ndarray) -> dict[str, Any]:
    gaps = one.elpd_i.values - exact
    names, counts = np.unique(one.pareto_k.method.values, return_counts=True)
    return {
        "elpd": float(one.elpd),
        "largest gap": float(np.abs(gaps).max()),
        "median gap": float(np.median(np.abs(gaps))),
        "methods": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "void": int((one.pareto_k > one.good_k).sum()),
    }


def left_out_lines(found: dict[str, Any]) -> list[str]:
    """Writes a section on them."""
    lines = [
        "## Rows left out",
        "",
        "Every other row of Iris. The truth is the posterior given all other rows, sampled for "
        "each row anew, by as many particles as the rest. Ten folds leave more out than a row, and "
        "so give less. The gap is of a row's elpd, in nats.",
        "",
        "| model | from | elpd | brute force | largest gap | median gap | rows by method | void |",
        "| :--- | :--- | ---: | ---: | ---: | ---: | :--- | ---: |",
    ]
    for model, one in found.items():
        for way in [name for name, value in one.items() if isinstance(value, dict)]:
            part = one[way]
            methods = ", ".join(f"{count} {name}" for name, count in part["methods"].items())
            cells = [model, way, f"{part['elpd']:.1f}", f"{one['elpd']:.1f}"]
            cells += [f"{part['largest gap']:.2f}", f"{part['median gap']:.3f}"]
            cells += [methods, str(part["void"])]
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
