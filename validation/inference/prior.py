"""The prior over a mixture's variances: what it costs rows held out."""

import math
import statistics
from typing import Any

import pyro.distributions as dist
import torch

from pyro_ugmm.datasets import iris
from pyro_ugmm.diagnostics import mixture_draws, to_inference_data
from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.guides import full_rank
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.training import fit_svi

__all__ = ["compare_priors"]

_PRIORS = {
    "the default, LogNormal(-1.5, 1.5)": {},
    "InverseGamma(2, 1)": {"variances": dist.InverseGamma(2.0, 1.0)},
}


def _three_points(deviation: float) -> torch.Tensor:
    """Three round components a unit apart."""
    generator = torch.Generator().manual_seed(1)
    centers = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).repeat(100, 1)
    return centers + deviation * torch.randn(300, 2, generator=generator)


def _held_out(x: torch.Tensor, n_components: int, seed: int, n_draws: int) -> dict[str, float]:
    """The mean log density of half of the rows, by a guide fitted to the others, and by EM."""
    x = x.double()[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]
    known, held = x[::2], x[1::2]
    start = initialize(known, n_components, n_init=5, seed=seed)
    estimate = EMFitter(progress=False, max_iter=300).fit(known, start).mixture
    found = {"EM": estimate.log_prob(held).mean().item()}
    for name, given in _PRIORS.items():
        torch.manual_seed(seed)
        priors = Priors.from_data(known, **given)
        model = BayesianGaussianMixture(n_components, x.shape[1], priors=priors)
        guide = full_rank(model, start=estimate, x=known)
        options = {"learning_rate": 0.02, "num_particles": 4, "seed": seed, "progress": False}
        fit_svi(model, guide, known, steps=500, **options)
        idata = to_inference_data(model, guide, known, num_samples=n_draws, seed=seed)
        density = mixture_draws(model, idata).log_prob(held).logsumexp(0) - math.log(n_draws)
        found[name] = density.mean().item()
    return found


def compare_priors(n_splits: int) -> dict[str, dict[str, float]]:
    """Returns the held-out log density per row, by data set and prior, over splits in halves."""
    cases: dict[str, tuple[Any, int]] = {
        "Iris, 2 components": (iris().x, 2),
        "Iris, 3 components": (iris().x, 3),
        "3 points, deviation 0.1": (_three_points(0.1), 3),
        "3 points, deviation 0.02": (_three_points(0.02), 3),
    }
    table = {}
    for case, (x, n_components) in cases.items():
        runs = [_held_out(x, n_components, seed, n_draws=400) for seed in range(n_splits)]
        table[case] = {name: statistics.mean(run[name] for run in runs) for name in runs[0]}
    return table
