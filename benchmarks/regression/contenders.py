"""The methods, each of which predicts a density and an interval of every held-out row."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_predict
from torch import Tensor

from pyro_ugmm.diagnostics import prediction_intervals, predictive_mixture
from pyro_ugmm.distributions import UnivariateGaussianMixture
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMRegressor
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.training import fit_mle, fit_svi

from .data import Split

__all__ = ["BASELINE", "CONTENDERS", "COVERAGE", "SAMPLED", "Predicted", "Settings"]

COVERAGE = 0.9
BASELINE = "SVI"
SAMPLED = "sampled"


class Settings(NamedTuple):
    """Sizes and seeds.

    Attributes:
        few: hidden neurons and components, for a table of fewer than ``many`` training rows.
        more: those for a larger one.
    """

    few: tuple[int, int]
    more: tuple[int, int]
    many: int
    dropout: float
    seed: int
    quick: bool

    def sizes(self, part: Split) -> list[int]:
        """The sizes of a network."""
        return [part.x.shape[1], *(self.few if len(part.x) < self.many else self.more)]


class Predicted(NamedTuple):
    """The log density of each held-out target, and the ends of its interval, each ``(m,)``."""

    log_density: Tensor
    low: Tensor
    high: Tensor


def _of_normal(mean: Tensor, scale: float, y: Tensor) -> Predicted:
    normal = torch.distributions.Normal(mean, scale)
    tail = (1 - COVERAGE) / 2
    ends = (normal.icdf(torch.tensor(q, dtype=mean.dtype)) for q in (tail, 1 - tail))
    return Predicted(normal.log_prob(y), *ends)


def _linear(part: Split, settings: Settings) -> Predicted:
    """Least squares, with residuals as wide as their unbiased variance."""
    model = LinearRegression().fit(part.x, part.y)
    residuals = part.y - torch.as_tensor(model.predict(part.x))
    freedom = len(part.y) - part.x.shape[1] - 1
    mean = torch.as_tensor(model.predict(part.x_held_out))
    return _of_normal(mean, math.sqrt(float(residuals.square().sum()) / freedom), part.y_held_out)


def _boosting(part: Split, settings: Settings) -> Predicted:
    """Intervals by its quantiles; a density by its mean and the spread of residuals in folds."""
    at = {"random_state": settings.seed}
    folds = cross_val_predict(HistGradientBoostingRegressor(**at), part.x, part.y, cv=5)
    scale = float((part.y - torch.as_tensor(folds)).square().mean().sqrt())
    mean = HistGradientBoostingRegressor(**at).fit(part.x, part.y).predict(part.x_held_out)
    found = _of_normal(torch.as_tensor(mean).float(), scale, part.y_held_out)
    low, high = (
        torch.as_tensor(
            HistGradientBoostingRegressor(loss="quantile", quantile=q, **at)
            .fit(part.x, part.y)
            .predict(part.x_held_out)
        )
        for q in ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2)
    )
    return found._replace(low=low, high=high)


def _of_mixture(mixture: UnivariateGaussianMixture, y: Tensor) -> Predicted:
    tail = (1 - COVERAGE) / 2
    ends = mixture.icdf(torch.tensor([[tail], [1 - tail]], dtype=y.dtype))
    return Predicted(mixture.log_prob(y), *ends)


class _DensityNetwork(torch.nn.Module):
    """Bishop's (1994): a layer of tanh, then logits, locations and scales of components."""

    def __init__(self, n_features: int, n_parameters: int, n_components: int) -> None:
        super().__init__()
        n_out = 3 * n_components
        n_hidden = max(1, round((n_parameters - n_out) / (n_features + 1 + n_out)))
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(n_features, n_hidden), torch.nn.Tanh(), torch.nn.Linear(n_hidden, n_out)
        )

    def forward(self, x: Tensor) -> UnivariateGaussianMixture:
        logits, loc, log_scale = self.layers(x).chunk(3, -1)
        scale = torch.nn.functional.softplus(log_scale) + 0.01
        return UnivariateGaussianMixture(loc, scale, logits, validate_args=False)


def _density_network(part: Split, settings: Settings) -> Predicted:
    """By maximum likelihood, stopped where a fifth of the training rows is predicted best."""
    torch.manual_seed(settings.seed)
    n_parameters = sum(p.numel() for p in _network(part, settings).parameters())
    network = _DensityNetwork(part.x.shape[1], n_parameters, settings.sizes(part)[-1])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    judges, train = torch.randperm(len(part.x)).tensor_split([len(part.x) // 5])
    best, kept = math.inf, {}
    for _ in range(20 if settings.quick else 1000):
        optimizer.zero_grad()
        loss = -network(part.x[train]).log_prob(part.y[train]).mean()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            judged = -float(network(part.x[judges]).log_prob(part.y[judges]).mean())
        if judged < best:
            best = judged
            kept = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    with torch.no_grad():
        return _of_mixture(network(part.x_held_out), part.y_held_out)


def _network(part: Split, settings: Settings, dropout: float = 0.0) -> UGMMNetwork:
    return UGMMNetwork(settings.sizes(part), dropout=dropout)


def _predicted(
    model: UGMMRegressor,
    inference: object,
    part: Split,
    seed: int,
    calibration: tuple[Tensor, Tensor] | None = None,
) -> Predicted:
    asked = {"model": model, "inference": inference, "x": part.x_held_out, "seed": seed}
    density = predictive_mixture(**asked).log_prob(part.y_held_out)  # type: ignore[arg-type]
    intervals = {"coverage": COVERAGE, "calibration": calibration}
    return Predicted(density, *prediction_intervals(**asked, **intervals))  # type: ignore


def _likely(part: Split, settings: Settings) -> Predicted:
    torch.manual_seed(settings.seed)
    model = UGMMRegressor.from_data(_network(part, settings, settings.dropout), part.y)
    rest = {"steps": 20} if settings.quick else {}
    fit_mle(model, part.x, part.y, seed=settings.seed, progress=False, **rest)
    return _predicted(model, None, part, settings.seed)


def _bayesian(part: Split, settings: Settings, **priors: float) -> UGMMRegressor:
    torch.manual_seed(settings.seed)
    return UGMMRegressor.from_data(_network(part, settings), part.y, Priors(**priors))


def _variational(part: Split, settings: Settings, **intervals: Any) -> Predicted:
    model, rest = _bayesian(part, settings), {"steps": 20} if settings.quick else {}
    guide = mean_field(model)
    fit_svi(model, guide, part.x, part.y, seed=settings.seed, progress=False, **rest)
    return _predicted(model, guide, part, settings.seed, **intervals)


def _conformal(part: Split, settings: Settings) -> Predicted:
    """By SVI of four fifths of the training rows, with intervals by the others."""
    n_held_back = len(part.x) // 5  # rows are in a random order
    held_back = part.x[:n_held_back], part.y[:n_held_back]
    rest = part._replace(x=part.x[n_held_back:], y=part.y[n_held_back:])
    return _variational(rest, settings, calibration=held_back)


def _sampled(part: Split, settings: Settings) -> Predicted:
    model = _bayesian(part, settings, weights=1.0)
    asked = {"num_particles": 8 if settings.quick else 32, "seed": settings.seed}
    sample = sample_posterior(model, part.x, part.y, progress=False, **asked)
    return _predicted(model, sample, part, settings.seed)


CONTENDERS: dict[str, Callable[[Split, Settings], Predicted]] = {
    BASELINE: _variational,
    "SVI, conformal": _conformal,
    "maximum likelihood": _likely,
    "mixture-density network": _density_network,
    "gradient boosting": _boosting,
    "linear": _linear,
    SAMPLED: _sampled,
}
"""By name; the first three and the last are of UGMMRegressor."""
