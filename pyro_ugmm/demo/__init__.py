"""The main job on real data: Iris by maximum likelihood, SVI and sequential Monte Carlo.

Run as ``python -m pyro_ugmm.demo``; it examines the posterior, and writes it and figures to
``out/``.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..guides import mean_field
from ..models import Priors, UGMMClassifier
from ..nn import UGMMNetwork
from ..sampling import PosteriorSample, sample_posterior
from ..training import FitResult, fit_mle, fit_svi

__all__ = ["DROPOUT", "ONE_LAYER", "SIZES", "Sampled", "Trained", "sample", "train_both"]

SIZES, ONE_LAYER, DROPOUT = [4, 8, 3], [4, 3], 0.2


class Trained(NamedTuple):
    """A network trained both ways, and what the trainings said."""

    network: UGMMNetwork  # at maximum likelihood
    mle: FitResult
    model: UGMMClassifier
    guide: Callable
    svi: FitResult


def train_both(
    x: Tensor,
    y: Tensor,
    seed: int,
    *,
    mle_steps: int = 500,
    svi_steps: int = 1000,
    progress: bool = False,
) -> Trained:
    """Trains the demo's network by maximum likelihood, then by SVI from where that stands."""
    torch.manual_seed(seed)
    likely = UGMMClassifier(UGMMNetwork(SIZES, dropout=DROPOUT))
    mle = fit_mle(likely, x, y, steps=mle_steps, progress=progress)
    model = UGMMClassifier(likely.network, Priors())
    guide = mean_field(model)
    svi = fit_svi(model, guide, x, y, steps=svi_steps, progress=progress)
    return Trained(likely.network.eval(), mle, model, guide, svi)


class Sampled(NamedTuple):
    """A network with priors over all of its parameters, and its posterior."""

    model: UGMMClassifier
    sample: PosteriorSample


def sample(
    network: UGMMNetwork,
    x: Tensor,
    y: Tensor,
    seed: int,
    *,
    num_particles: int = 256,
    progress: bool = False,
) -> Sampled:
    """Samples the posterior of a network from its prior, whose units its hidden layers give."""
    model = UGMMClassifier(network, Priors(weights=1.0))
    found = sample_posterior(model, x, y, num_particles=num_particles, seed=seed, progress=progress)
    return Sampled(model, found)
