"""The main job on real data: Iris by maximum likelihood and by SVI, and the posterior examined.

Run as ``python -m pyro_ugmm.demo``; it writes figures and the posterior to ``out/``.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..guides import mean_field
from ..models import Priors, UGMMClassifier
from ..nn import UGMMNetwork
from ..training import FitResult, fit_mle, fit_svi

__all__ = ["DROPOUT", "SIZES", "Trained", "train_both"]

SIZES, DROPOUT = [4, 8, 3], 0.2


class Trained(NamedTuple):
    """A network trained both ways, and what the trainings said."""

    network: UGMMNetwork  # at maximum likelihood
    mle: FitResult
    model: UGMMClassifier
    guide: Callable
    svi: FitResult


def train_both(
    x: Tensor, y: Tensor, seed: int, *, svi_steps: int = 1000, progress: bool = False
) -> Trained:
    """Trains the demo's network by maximum likelihood, then by SVI from where that stands."""
    torch.manual_seed(seed)
    likely = UGMMClassifier(UGMMNetwork(SIZES, dropout=DROPOUT))
    mle = fit_mle(likely, x, y, progress=progress)
    model = UGMMClassifier(likely.network, Priors())
    guide = mean_field(model)
    svi = fit_svi(model, guide, x, y, steps=svi_steps, progress=progress)
    return Trained(likely.network.eval(), mle, model, guide, svi)
