"""A network of mixture neurons, by maximum likelihood and with priors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..guides import mean_field
from ..models import Priors, UGMMClassifier, UGMMRegressor
from ..nn import UGMMNetwork
from ..training import FitResult, fit_mle, fit_svi

__all__ = ["DROPOUT", "SIZES", "Trained", "train_both", "train_regression"]

SIZES, DROPOUT = [4, 8, 3], 0.2
_BATCH = 1_024
_COMPONENTS = 10


class Trained(NamedTuple):
    """A network trained both ways, and what the trainings said."""

    likely: Any  # the classifier or regression at maximum likelihood
    mle: FitResult
    model: Any  # with priors
    guide: Callable
    svi: FitResult

    @property
    def network(self) -> UGMMNetwork:
        """The network at maximum likelihood."""
        return self.likely.network


def _options(x: Tensor, steps: int, progress: bool) -> dict:
    batch_size = _BATCH if len(x) > _BATCH else None
    return {"steps": steps, "batch_size": batch_size, "progress": progress}


def train_both(
    x: Tensor,
    y: Tensor,
    seed: int,
    *,
    sizes: list[int] = SIZES,
    mle_steps: int = 500,
    svi_steps: int = 1000,
    progress: bool = False,
) -> Trained:
    """Trains a classifier by maximum likelihood, then by SVI from where that stands."""
    torch.manual_seed(seed)
    likely = UGMMClassifier(UGMMNetwork(sizes, DROPOUT, missing=_missing(x)))
    mle = fit_mle(likely, x, y, **_options(x, mle_steps, progress))
    model = UGMMClassifier(likely.network, Priors())
    guide = mean_field(model)
    svi = fit_svi(model, guide, x, y, **_options(x, svi_steps, progress))
    likely.network.eval()
    return Trained(likely, mle, model, guide, svi)


def train_regression(x: Tensor, y: Tensor, seed: int, *, progress: bool = False) -> Trained:
    """Trains a regression both ways, on standardized features."""
    torch.manual_seed(seed)
    network = UGMMNetwork([x.shape[1], 16, _COMPONENTS], DROPOUT, missing=_missing(x))
    likely = UGMMRegressor.from_data(network, y)
    mle = fit_mle(likely, x, y, **_options(x, 500, progress))
    model = UGMMRegressor.from_data(network, y, Priors())
    guide = mean_field(model)
    svi = fit_svi(model, guide, x, y, **_options(x, 1000, progress))
    likely.network.eval()
    return Trained(likely, mle, model, guide, svi)


def _missing(x: Tensor) -> str:
    return "omit" if bool(x.isnan().any()) else "error"
