"""Long chains of NumPyro's NUTS, which take minutes where Pyro's take hours."""

import time
from dataclasses import dataclass

import jax
import numpy as np
import torch
from numpyro.infer import MCMC, NUTS, init_to_sample
from torch import Tensor

from .cases import Case
from .hand_written import program_of

__all__ = ["Chains", "run_chains"]


@dataclass(frozen=True, eq=False)
class Chains:
    """Draws of the sites, one chain after the other, and what they took.

    Attributes:
        draws: by site, ``(S,)`` and its shape.
        n_gradients: leapfrog steps after the warmup.
        n_divergent: how many trajectories diverged after the warmup.
        seconds: in all.
    """

    draws: dict[str, Tensor]
    n_gradients: int
    n_divergent: int
    seconds: float


def run_chains(
    case: Case, n_chains: int, n_draws: int, thinning: int = 1, n_warmup: int = 2000, seed: int = 0
) -> Chains:
    """Samples chains that start at draws from the prior, of which every so many are kept."""
    kernel = NUTS(program_of(case), init_strategy=init_to_sample, target_accept_prob=0.98)
    mcmc = MCMC(
        kernel,
        num_warmup=n_warmup,
        num_samples=n_draws * thinning,
        thinning=thinning,
        num_chains=n_chains,
        chain_method="sequential",
        progress_bar=False,
    )
    began = time.perf_counter()
    mcmc.run(jax.random.key(seed), extra_fields=("num_steps", "diverging"))
    extra = mcmc.get_extra_fields()
    return Chains(
        {name: torch.from_numpy(np.array(draws)) for name, draws in mcmc.get_samples().items()},
        n_gradients=int(extra["num_steps"].sum()) * thinning,
        n_divergent=int(extra["diverging"].sum()) * thinning,
        seconds=time.perf_counter() - began,
    )
