"""Simulation-based calibration of sequential Monte Carlo, of NUTS, and of guides.

The model is a mixture of two components. Its posterior is symmetric, so components are ordered by
their means, in the truth and in every draw alike.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide.initialization import init_to_value
from torch import Tensor

from pyro_ugmm.diagnostics import SimulatedCalibration, simulate_calibration
from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.guides import full_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.training import fit_svi

__all__ = ["LEVELS", "calibrate", "simulated"]

LEVELS = (0.5, 0.8, 0.9)

_N_ROWS = 60
_NUTS_SHARE = 5  # NUTS, which takes long, has one in so many data sets


def _by_smc(model: Any, x: Tensor, y: None) -> Any:
    return sample_posterior(model, x, progress=False)


def _estimate(x: Tensor) -> Any:
    start = initialize(x, n_components=2, covariance="diagonal", n_init=5)
    return EMFitter(reg_covar=1e-2, progress=False).fit(x, start).mixture


def _by_nuts(model: Any, x: Tensor, y: None) -> MCMC:
    kernel = NUTS(
        model,
        jit_compile=True,
        ignore_jit_warnings=True,
        target_accept_prob=0.9,
        init_strategy=init_to_value(values=model.start_values(_estimate(x))),
    )
    mcmc = MCMC(kernel, num_samples=400, warmup_steps=300, disable_progbar=True)
    mcmc.run(x)
    return mcmc


def _by_guide(make: Any) -> Any:
    def infer(model: Any, x: Tensor, y: None) -> Any:
        guide = make(model, start=_estimate(x), x=x)
        fit_svi(model, guide, x, steps=1000, learning_rate=0.05, progress=False)
        return guide

    return infer


def _sampled_on(model: Any, x: Tensor, y: None) -> Any:
    guide = _by_guide(full_rank)(model, x, y)
    return sample_posterior(model, x, start=guide, progress=False)


INFERENCES = {
    "SMC": _by_smc,
    "NUTS": _by_nuts,
    "SVI mean_field": _by_guide(mean_field),
    "SVI full_rank": _by_guide(full_rank),
    "SVI full_rank, sampled on": _sampled_on,
}


def _ordered(draws: Mapping[str, Tensor], site: str) -> Tensor:
    """A site's numbers, ``(S, 2)``, in the order of the components' means."""
    order = draws["means"][..., 0].argsort(-1)
    return draws[site].reshape(len(order), 2).gather(-1, order)


QUANTITIES = {
    "lower mean": lambda draws, x, y: _ordered(draws, "means")[:, 0],
    "higher mean": lambda draws, x, y: _ordered(draws, "means")[:, 1],
    "weight of the lower": lambda draws, x, y: _ordered(draws, "weights")[:, 0],
    "variance of the lower": lambda draws, x, y: _ordered(draws, "variances")[:, 0],
}


def calibrate(num_simulations: int, folder: Path) -> dict[str, Any]:
    """Ranks truths by all inferences; goes on from the checkpoints that it leaves in a folder."""
    priors = Priors(center=torch.zeros((), dtype=torch.float64))
    model = BayesianGaussianMixture(2, 1, "diagonal", priors)
    x = torch.zeros(_N_ROWS, 1, dtype=torch.float64)
    record: dict[str, Any] = {"n_rows": _N_ROWS, "inferences": {}}
    for name, infer in INFERENCES.items():
        count = num_simulations // (_NUTS_SHARE if infer is _by_nuts else 1)
        result = simulate_calibration(
            model,
            infer,
            x,
            num_simulations=max(count, 10),
            quantities=QUANTITIES,
            checkpoint=folder / f"calibration_{'_'.join(name.replace(',', '').split())}.pt",
        )
        record["inferences"][name] = {
            "names": result.names,
            "ranks": result.ranks.tolist(),
            "num_draws": result.num_draws.tolist(),
            "num_simulations": result.num_simulations,
            "failures": result.failures,
        }
        print(name, result, sep="\n", flush=True)
        if result.interrupted:
            break
    return record


def simulated(record: dict[str, Any]) -> dict[str, SimulatedCalibration]:
    """The results in a record, by inference."""
    return {
        name: SimulatedCalibration(
            tuple(one["names"]),
            torch.tensor(one["ranks"]),
            torch.tensor(one["num_draws"]),
            one["num_simulations"],
            tuple(one["failures"]),
        )
        for name, one in record["inferences"].items()
    }
