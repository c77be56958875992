"""Simulation-based calibration of NUTS, and coverage of the intervals of SVI.

Parameters are drawn from the prior, data given these, and the posterior is asked where among its
draws the parameters lie: evenly everywhere, if the inference is right (Talts and others 2018,
arXiv:1804.06788). A mixture's posterior is symmetric, so components are ordered by their means, in
the truth and in every draw alike.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide.initialization import init_to_value
from scipy.stats import binom, chisquare
from tqdm import tqdm

from pyro_ugmm.diagnostics import importance_resample, to_inference_data
from pyro_ugmm.diagnostics.draws import posterior_draws
from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.guides import full_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.training import fit_svi

__all__ = ["INFERENCES", "QUANTITIES", "calibrate", "summarize"]

QUANTITIES = ("lower mean", "higher mean", "weight of the lower", "log variance of the lower")
INFERENCES = ("NUTS", "SVI mean_field", "SVI full_rank", "SVI full_rank, resampled")
_N_ROWS = 60
_N_RANKS = 100  # thinned draws, so that ranks are among so many
_THINNING = 4
_N_DRAWS = _N_RANKS * _THINNING
_N_RESAMPLED = 4000  # draws of a guide, of which some are chosen by importance
_N_BINS = 10
_LEVELS = (0.5, 0.9)


def _quantities(draws: dict[str, torch.Tensor]) -> np.ndarray:
    """What is calibrated, of draws ``(S, 1)``: shape ``(S, 4)``."""
    draws = {site: value.detach() for site, value in draws.items()}
    means, order = draws["means"][:, 0, :, 0].sort(-1)
    weights = draws["weights"][:, 0].gather(-1, order)
    variances = draws["variances"][:, 0, :, 0].gather(-1, order)
    found = [means[:, 0], means[:, 1], weights[:, 0], variances[:, 0].log()]
    return torch.stack(found, -1).numpy()


def _one(seed: int) -> dict[str, list[float]]:
    """Simulates one data set; returns the rank of the truth by each inference, in [0, 1]."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    priors = Priors(center=torch.zeros((), dtype=torch.float64))
    model = BayesianGaussianMixture(2, 1, "diagonal", priors)
    truth = {site: p.sample((1, 1)) for site, p in model.site_distributions().items()}
    x = model.mixture({site: value[0, 0] for site, value in truth.items()}).sample((_N_ROWS,))
    start = initialize(x, n_components=2, covariance="diagonal", n_init=5, seed=seed)
    estimate = EMFitter(reg_covar=1e-2, progress=False).fit(x, start).mixture
    draws = {"NUTS": _by_nuts(model, estimate, x)}
    for name, make in (("SVI mean_field", mean_field), ("SVI full_rank", full_rank)):
        guide = make(model, start=estimate, x=x)
        fit_svi(model, guide, x, steps=1000, learning_rate=0.05, progress=False)
        draws[name] = posterior_draws(model, guide, _N_DRAWS, x).values
    idata = to_inference_data(model, guide, x, num_samples=_N_RESAMPLED)
    posterior = importance_resample(idata, _N_DRAWS, seed=seed).posterior
    draws["SVI full_rank, resampled"] = {
        site: torch.from_numpy(posterior[site].values[0]).unsqueeze(1) for site in truth
    }
    actual = _quantities(truth)
    return {
        name: (_quantities(found)[::_THINNING] < actual).mean(0).tolist()
        for name, found in draws.items()
    }


def _by_nuts(model: Any, estimate: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    kernel = NUTS(
        model,
        jit_compile=True,
        ignore_jit_warnings=True,
        target_accept_prob=0.9,
        init_strategy=init_to_value(values=model.start_values(estimate)),
    )
    mcmc = MCMC(kernel, num_samples=_N_DRAWS, warmup_steps=300, disable_progbar=True)
    mcmc.run(x)
    return posterior_draws(model, mcmc, _N_DRAWS, x).values


def calibrate(n_simulations: int, n_processes: int) -> dict[str, Any]:
    """Returns the ranks of all simulations, by inference and quantity; of those done, if it is
    interrupted by the keyboard.
    """
    results = []
    with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool:
        running = pool.map(_one, range(n_simulations))
        try:
            for result in tqdm(running, desc="calibration", total=n_simulations):
                results.append(result)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
    ranks = {
        name: {
            quantity: [result[name][i] for result in results]
            for i, quantity in enumerate(QUANTITIES)
        }
        for name in INFERENCES
    }
    return {"n_simulations": len(results), "n_rows": _N_ROWS, "ranks": ranks}


def summarize(ranks: list[float]) -> dict[str, Any]:
    """Judges ranks: by a chi-squared test of evenness, and by the coverage of central intervals."""
    counts = np.histogram(ranks, bins=_N_BINS, range=(0, 1))[0]
    found: dict[str, Any] = {
        "counts": counts.tolist(),
        "p_value": float(chisquare(counts).pvalue),
    }
    distance = np.abs(np.asarray(ranks) - 0.5)
    for level in _LEVELS:
        inside = int((distance <= level / 2).sum())
        low, high = binom.interval(0.99, len(ranks), level)
        found[f"coverage {level:.0%}"] = inside / len(ranks)
        found[f"expected {level:.0%}"] = [low / len(ranks), high / len(ranks)]
    return found
