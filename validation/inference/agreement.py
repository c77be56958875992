"""SVI against NUTS, LOO from both, and how often a guide finds all components."""

from typing import Any

import arviz
import numpy as np
import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import AutoNormal
from pyro.infer.autoguide.initialization import init_to_value

from pyro_ugmm.diagnostics import loo, relabel, to_inference_data
from pyro_ugmm.diagnostics.arviz_interface import with_draws
from pyro_ugmm.distributions import DiagonalCovariance, GaussianMixture
from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.guides import full_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.training import fit_svi

__all__ = ["against_nuts", "compare_numbers", "find_modes"]


def _two_components(seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.cat([torch.randn(70, 1) - 2, 0.7 * torch.randn(130, 1) + 2.5]).double()


def _estimate(x: torch.Tensor, n_components: int, covariance: str, seed: int = 0) -> Any:
    start = initialize(x, n_components=n_components, covariance=covariance, n_init=10, seed=seed)
    return EMFitter(progress=False, max_iter=500).fit(x, start).mixture


def against_nuts(n_draws: int) -> dict[str, Any]:
    """An identified mixture of two components: full-rank SVI against four chains of NUTS."""
    x = _two_components()
    estimate = _estimate(x, 2, "diagonal")
    torch.manual_seed(1)
    model = BayesianGaussianMixture(2, 1, "diagonal", Priors.from_data(x))
    kernel = NUTS(
        model,
        jit_compile=True,
        ignore_jit_warnings=True,
        init_strategy=init_to_value(values=model.start_values(estimate)),
    )
    mcmc = MCMC(
        kernel,
        num_samples=n_draws,
        warmup_steps=300,
        num_chains=4,
        mp_context="spawn",
        disable_progbar=True,
    )
    mcmc.run(x)
    chains = relabel(to_inference_data(model, mcmc, x, seed=0))
    guide = full_rank(model, start=estimate, x=x)
    result = fit_svi(model, guide, x, steps=3000, num_particles=10, seed=0, progress=False)
    draws = relabel(to_inference_data(model, guide, x, num_samples=4000, seed=0))
    distances = {}
    for site in ("means", "weights", "variances"):
        ours, theirs = draws.posterior[site], chains.posterior[site]
        gap = ours.mean(("chain", "draw")) - theirs.mean(("chain", "draw"))
        distances[site] = float(abs(gap / theirs.std(("chain", "draw"))).max())
    r_hat = arviz.rhat(chains)
    loo_svi, loo_nuts = loo(draws), loo(chains)
    uncorrected = with_draws(draws, ["sample_stats"], np.arange(4000), without="log_q")
    return {
        "largest_r_hat": float(max(r_hat[site].max() for site in r_hat.data_vars)),
        "divergences": int(chains.sample_stats["diverging"].sum()),
        "distance_of_means_in_posterior_sd": distances,
        "pareto_k": draws.posterior.attrs["pareto_k"],
        "svi_converged": result.converged,
        "loo": {
            "NUTS": float(loo_nuts["elpd"]),
            "SVI": float(loo_svi["elpd"]),
            "SVI uncorrected": float(loo(uncorrected)["elpd"]),
            "standard error": float(loo_nuts["se"]),
        },
    }


def compare_numbers(n_draws: int) -> list[dict[str, Any]]:
    """Data of three components: LOO of guides with two, three and four."""
    torch.manual_seed(0)
    centers = torch.tensor([[-4.0, 0.0], [0.0, 3.0], [4.0, 0.0]]).double()
    x = centers.repeat_interleave(100, 0) + torch.randn(300, 2).double()
    found = {}
    for n_components in (2, 3, 4):
        model = BayesianGaussianMixture(n_components, 2, "diagonal", Priors.from_data(x))
        guide = full_rank(model, start=_estimate(x, n_components, "diagonal"), x=x)
        fit_svi(model, guide, x, steps=3000, num_particles=4, seed=0, progress=False)
        found[n_components] = loo(to_inference_data(model, guide, x, num_samples=n_draws, seed=0))
    table = []
    for n_components in (2, 4):
        gap = found[3]["elpd_i"] - found[n_components]["elpd_i"]
        table.append(
            {
                "three against": n_components,
                "difference": float(gap.sum()),
                "standard error": float((gap.size * gap.var()) ** 0.5),
                "rows of high pareto k": int((found[n_components]["pareto_k"] > 0.7).sum()),
            }
        )
    return table


def find_modes(n_seeds: int) -> dict[str, Any]:
    """Counts, over seeds, how often a guide's means come near all of six components."""
    found = {"started at EM": 0, "Pyro's AutoNormal": 0}
    for seed in range(n_seeds):
        torch.manual_seed(seed)
        angle = torch.arange(6) * np.pi / 3
        centers = 5 * torch.stack([angle.cos(), angle.sin()], -1).double()
        covariance = DiagonalCovariance(torch.full((6, 2), 0.5).double())
        truth = GaussianMixture(torch.full((6,), 1 / 6).double(), centers, covariance)
        x = truth.sample((600,))
        model = BayesianGaussianMixture(6, 2, "diagonal", Priors.from_data(x))
        guides = {
            "started at EM": mean_field(model, start=_estimate(x, 6, "diagonal", seed), x=x),
            "Pyro's AutoNormal": AutoNormal(model),
        }
        for name, guide in guides.items():
            fit_svi(model, guide, x, steps=1500, learning_rate=0.05, seed=seed, progress=False)
            means = guide.median(x)["means"]
            nearest = torch.cdist(centers, means).amin(1)
            found[name] += bool((nearest < 1.0).all())
    return {"n_seeds": n_seeds, "counts": found}
