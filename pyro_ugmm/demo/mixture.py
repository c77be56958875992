"""A mixture of the features: by EM on all rows, and its posterior."""

import warnings
from typing import Any, NamedTuple

from ..diagnostics import loo, relabel, to_inference_data
from ..em import EMFitter, select
from ..em.selection import Selection
from ..models import BayesianGaussianMixture, Priors
from ..sampling import PosteriorSample, sample_posterior
from .table import DemoTable

__all__ = ["Bayesian", "by_em", "posterior_of", "telling_features"]

_COMPONENTS = range(1, 6)
_FEWEST_ROWS, _MOST_ROWS = 20, 150
_MOST_FEATURES, _MOST_TOGETHER = 4, 0.98


class Bayesian(NamedTuple):
    """A mixture with priors, the rows and features that it is of, and its posterior."""

    model: BayesianGaussianMixture
    rows: Any  # a data frame, by which plots are labeled
    sample: PosteriorSample
    idata: Any
    left_out: Any


def by_em(table: DemoTable, seed: int, *, progress: bool = False) -> Selection:
    """Mixtures of one to five components, each with full and with diagonal covariances."""
    fitter = EMFitter(missing=table.missing, progress=False)
    quiet: dict[str, Any] = {"n_init": 3, "seed": seed, "progress": progress}
    return select(table.frame, _COMPONENTS, ("full", "diagonal"), fitter=fitter, **quiet)


def posterior_of(
    table: DemoTable, chosen: Selection, seed: int, *, progress: bool = False
) -> Bayesian:
    """The posterior of two components, of up to 150 complete rows and four features."""
    rows = table.frame.iloc[:, telling_features(chosen, table)]
    while rows.shape[1] > 1 and len(rows.dropna()) < _FEWEST_ROWS:
        rows = rows.iloc[:, :-1]  # rows with gaps would take minutes
    complete = rows.dropna()
    rows = complete.sample(min(len(complete), _MOST_ROWS), random_state=seed).sort_index()
    model = BayesianGaussianMixture(2, rows.shape[1], priors=Priors.from_data(rows))
    sample = sample_posterior(model, rows, seed=seed, progress=progress)
    idata = relabel(to_inference_data(model, sample, rows, seed=seed))
    with warnings.catch_warnings():  # which rows it is of is said in the result
        warnings.simplefilter("ignore", UserWarning)
        left_out = loo(idata, model, rows)
    return Bayesian(model, rows, sample, idata, left_out)


def telling_features(chosen: Selection, table: DemoTable, count: int = _MOST_FEATURES) -> list[int]:
    """The features in which components differ most, without those that say nearly the same."""
    mixture = chosen.best.result.mixture
    differences = mixture.means.var(0, correction=0) / mixture.variance
    correlations = abs(table.frame.corr().to_numpy())
    taken: list[int] = []
    for feature in differences.argsort(descending=True).tolist():
        if len(taken) < count and (correlations[feature, taken] < _MOST_TOGETHER).all():
            taken.append(feature)
    return sorted(taken)
