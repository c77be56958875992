"""The methods in one form: rows to learn from in, a function of rows to class probabilities out."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from pyro_ugmm.diagnostics import class_probabilities
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.training import fit_mle, fit_svi

from .data import Classes
from .mlp import Perceptrons, hidden_units
from .settings import Settings

__all__ = [
    "BOOSTED",
    "CONTENDERS",
    "ENSEMBLE",
    "LIKELIHOOD",
    "LOGISTIC",
    "MLP",
    "MLPS",
    "OURS",
    "SMC",
    "Predict",
    "fit_network",
    "is_too_large",
]

Predict = Callable[[Tensor], Tensor]

LIKELIHOOD, DROPOUT, ENSEMBLE, SVI, SMC = OURS = (
    *("maximum likelihood", "with dropout", "networks", "SVI", "SMC"),
)
LOGISTIC, MLP, MLPS, MC_DROPOUT, BOOSTED = (
    *("logistic regression", "MLP", "MLPs", "MC dropout", "boosted trees"),
)
_SHARE = 0.2  # of components, or units, dropped


def fit_network(
    rows: Classes, settings: Settings, seed: int, count: int = 1, **options: Any
) -> tuple[UGMMClassifier, Any]:
    """Trains networks by maximum likelihood, with the library's defaults."""
    torch.manual_seed(seed)
    sizes = [rows.x.shape[1], settings.hidden, rows.n_classes]
    model = UGMMClassifier(UGMMNetwork(sizes, **options))
    batch = {"steps": settings.steps, "batch_size": min(settings.batch_size, len(rows.y))}
    result = fit_mle(model, rows.x, rows.y, **batch, num_starts=count, seed=seed, progress=False)
    model.network.eval()
    return model, result


def _by_likelihood(rows: Classes, settings: Settings, seed: int, **options: Any) -> Predict:
    model, _ = fit_network(rows, settings, seed, **options)

    def predict(x: Tensor) -> Tensor:
        with torch.no_grad():
            return model.network(x).softmax(-1)

    return predict


def _by_networks(rows: Classes, settings: Settings, seed: int) -> Predict:
    model, ensemble = fit_network(rows, settings, seed, settings.members)
    return lambda x: class_probabilities(model, ensemble, x, settings.members).mean(0)


def _by_svi(rows: Classes, settings: Settings, seed: int) -> Predict:
    likely, _ = fit_network(rows, settings, seed)
    model = UGMMClassifier(likely.network, Priors())
    guide, steps = mean_field(model), settings.steps
    batch = min(settings.batch_size, len(rows.y))
    options = {"batch_size": batch, "seed": seed, "progress": False}
    fit_svi(model, guide, rows.x, rows.y, steps=steps, **options)
    return lambda x: class_probabilities(model, guide, x, settings.draws, seed=0).mean(0)


def _by_smc(rows: Classes, settings: Settings, seed: int) -> Predict:
    torch.manual_seed(seed)
    network = UGMMNetwork([rows.x.shape[1], settings.small, rows.n_classes])
    model = UGMMClassifier(network, Priors())
    sample = sample_posterior(
        *(model, rows.x, rows.y),
        num_particles=settings.particles,
        most_moves=settings.most_moves,
        seed=seed,
        progress=False,
    )
    return lambda x: class_probabilities(model, sample, x).mean(0)


def is_too_large(name: str, rows: Classes, settings: Settings) -> bool:
    """Whether a method would take too long."""
    return name == SMC and rows.x.numel() > settings.most_values


def _by_mlp(
    rows: Classes, settings: Settings, seed: int, several: bool = False, dropout: float = 0.0
) -> Predict:
    units = hidden_units(rows.x.shape[1], rows.n_classes, settings.hidden)
    mlps = Perceptrons(settings.members if several else 1, units, dropout)
    mlps.fit(rows, settings.steps, settings.batch_size, seed)
    return partial(mlps, draws=settings.draws if dropout else 1)


def _by_sklearn(make: Callable[..., Any], rows: Classes, settings: Settings, seed: int) -> Predict:
    fitted = make(random_state=seed).fit(rows.x.numpy(), rows.y.numpy())
    return lambda x: torch.as_tensor(fitted.predict_proba(x.numpy()), dtype=torch.float32)


CONTENDERS: dict[str, Callable[[Classes, Settings, int], Predict]] = {
    LIKELIHOOD: _by_likelihood,
    DROPOUT: partial(_by_likelihood, dropout=_SHARE),
    ENSEMBLE: _by_networks,
    SVI: _by_svi,
    SMC: _by_smc,
    LOGISTIC: partial(_by_sklearn, partial(LogisticRegression, max_iter=1_000)),
    MLP: _by_mlp,
    MLPS: partial(_by_mlp, several=True),
    MC_DROPOUT: partial(_by_mlp, dropout=_SHARE),
    BOOSTED: partial(_by_sklearn, HistGradientBoostingClassifier),
}
"""What each does with rows to learn from; all classes are among these."""
