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
    """A network trained both ways, and what SVI said at its end."""

    likely: Any  # the classifier or regression at maximum likelihood
    model: Any  # with priors
    guide: Callable
    svi: FitResult

    @property
    def network(self) -> UGMMNetwork:
        """The network at maximum likelihood."""
        return self.likely.network


def train_both(
    x: Tensor,
    y: Tensor,
    seed: int,
    *,
    sizes: list[int] = SIZES,
    progress: bool = False,
) -> Trained:
    """Trains a classifier by maximum likelihood, then by SVI from where that stands."""
    torch.manual_seed(seed)
    likely = UGMMClassifier(UGMMNetwork(sizes, DROPOUT, missing=_missing(x)))
    return _trained_both_ways(likely, x, y, progress)


def train_regression(x: Tensor, y: Tensor, seed: int, *, progress: bool = False) -> Trained:
    """Trains a regression both ways, on standardized features."""
    torch.manual_seed(seed)
    network = UGMMNetwork([x.shape[1], 16, _COMPONENTS], DROPOUT, missing=_missing(x))
    likely = UGMMRegressor.from_data(network, y)
    bayesian = UGMMRegressor.from_data(network, y, Priors())
    return _trained_both_ways(likely, x, y, progress, bayesian)


def _trained_both_ways(
    likely: Any, x: Tensor, y: Tensor, progress: bool, model: Any = None
) -> Trained:
    """By SVI from where maximum likelihood stands, or the model given from its own start."""
    batch_size = _BATCH if len(x) > _BATCH else None
    options: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
    fit_mle(likely, x, y, **options)
    model = UGMMClassifier(likely.network, Priors()) if model is None else model
    guide = mean_field(model)
    svi = fit_svi(model, guide, x, y, **options)
    likely.network.eval()
    return Trained(likely, model, guide, svi)


def _missing(x: Tensor) -> str:
    return "omit" if bool(x.isnan().any()) else "error"
