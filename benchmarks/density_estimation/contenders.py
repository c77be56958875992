"""The methods, each with its own choice of the number of components, in one form."""

import math
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from typing import Any

import torch
from sklearn import mixture as sklearn_mixture
from torch import Tensor

from pyro_ugmm.distributions import GaussianMixture
from pyro_ugmm.distributions.covariance import STRUCTURES
from pyro_ugmm.em import (
    EMFitter,
    UGMMFitter,
    VariationalEM,
    VariationalResult,
    initialize,
    initialize_ugmm,
    select,
)

from .predictive import PredictiveDensity
from .search import Candidate, Search, Settings

__all__ = ["BASELINE", "CONTENDERS", "KINDS", "OURS", "PRODUCTS", "TGMM", "is_missing"]

BASELINE, OURS, PRODUCTS, TGMM = "scikit-learn", "EM", "UGMMMixture", "tgmm"
KINDS = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}
"""scikit-learn's names of the structures, by ours."""

_TGMM_KINDS = KINDS | {"tied": "tied_full"}
_LEAST_ROWS = 1.0


def is_missing(name: str) -> bool:
    """Whether a contender is of a library that is not installed."""
    return name == TGMM and find_spec("tgmm") is None


def _candidate(
    mixture: GaussianMixture, n_components: int, structure: str, converged: bool, **rest: Any
) -> Candidate:
    least = float(mixture.covariance.smallest_variance().min())
    return Candidate(mixture, n_components, structure, converged, least_variance=least, **rest)


def _selected(train: Tensor, settings: Settings, **structures: Any) -> Search:
    """By ``select``, whose table has all fits."""
    fitter = EMFitter(reg_covar=settings.reg_covar, max_iter=settings.max_iter, progress=False)
    asked = {"fitter": fitter, "n_init": settings.n_init, "seed": settings.seed}
    table = select(train, settings.sizes, **structures, **asked, progress=False).table
    found = Search()
    for one in table:
        judged = {"bic": one.bic, "unsound": bool(one.unsound)}
        chosen = one.n_components, one.structure, one.result.converged
        found.candidates.append(_candidate(one.result.mixture, *chosen, **judged))
    return found


def _by_em(train: Tensor, settings: Settings) -> Search:
    return _selected(train, settings, covariance=KINDS)


def _by_low_rank(train: Tensor, settings: Settings) -> Search:
    ranks = [rank for rank in settings.ranks if rank < train.shape[1]]
    return _selected(train, settings, covariance="low_rank", rank=ranks)


def _by_products(train: Tensor, settings: Settings) -> Search:
    """Mixtures over products of neurons, of several sizes and numbers of Gaussians per neuron."""
    fitter = UGMMFitter(reg_covar=settings.reg_covar, max_iter=settings.max_iter, progress=False)
    asked = {"n_init": settings.n_init, "seed": settings.seed, "reg_covar": settings.reg_covar}
    found = Search()
    for count, size in product(settings.gaussians, settings.products):
        result = fitter.fit(train, initialize_ugmm(train, size, count, **asked))
        nodes = result.mixture.nodes
        found.candidates.append(
            Candidate(
                result.mixture,
                size,
                f"{count} per neuron",
                result.converged,
                bic=result.mixture.bic(train),
                unsound=bool(result.findings),
                least_variance=float(nodes.scale[nodes.probs > 0].min().square()),
            )
        )
    return found


def _variational(train: Tensor, settings: Settings) -> VariationalResult:
    fitter = VariationalEM(max_iter=settings.max_iter, progress=False)
    n_init, seed = settings.n_init, settings.seed
    return fitter.fit(train, initialize(train, settings.most, n_init=n_init, seed=seed))


def _by_variational(train: Tensor, settings: Settings) -> Search:
    """The density of the expected parameters."""
    fit = _variational(train, settings)
    return Search([_candidate(fit.mixture, fit.n_used, "full", fit.converged)])


def _by_predictive(train: Tensor, settings: Settings) -> Search:
    """The expected density."""
    fit = _variational(train, settings)
    return Search([Candidate(fit.predictive, fit.n_used, "full", fit.converged)])


def _mixture(fit: Any, structure: str) -> GaussianMixture:
    """The mixture of another library's parameters, whose values are checked."""
    weights, means, covariances = (
        torch.as_tensor(values) for values in (fit.weights_, fit.means_, fit.covariances_)
    )
    covariance = STRUCTURES[structure](covariances, validate_args=True)
    return GaussianMixture(weights, means, covariance, validate_args=True)


def _of_sklearn(settings: Settings) -> dict[str, Any]:
    return {
        "reg_covar": settings.reg_covar,
        "max_iter": settings.max_iter,
        "n_init": settings.n_init,
        "random_state": settings.seed,
    }


def _by_sklearn(train: Tensor, settings: Settings) -> Search:
    """A loop over structures and numbers, as its users write it."""
    found, x, options = Search(), train.numpy(), _of_sklearn(settings)
    for structure, kind in KINDS.items():
        for size in settings.sizes:
            model = sklearn_mixture.GaussianMixture(size, covariance_type=kind, **options)
            try:
                fit = model.fit(x)
                mixture, bic = _mixture(fit, structure), float(fit.bic(x))
            except ValueError as error:
                found.failures.append(f"{structure} {size}: {error}")
                continue
            found.candidates.append(_candidate(mixture, size, structure, fit.converged_, bic=bic))
    return found


def _sklearn_variational(train: Tensor, settings: Settings) -> tuple[Any, int]:
    """A fit, and how many components have a row."""
    options = _of_sklearn(settings)
    model = sklearn_mixture.BayesianGaussianMixture(n_components=settings.most, **options)
    fit = model.fit(train.numpy())
    n_rows = fit.mean_precision_ - fit.mean_precision_prior_
    return fit, int((n_rows >= _LEAST_ROWS).sum())


def _by_sklearn_variational(train: Tensor, settings: Settings) -> Search:
    """The density of the expected parameters; what its ``score_samples`` returns is none."""
    fit, n_used = _sklearn_variational(train, settings)
    return Search([_candidate(_mixture(fit, "full"), n_used, "full", fit.converged_)])


def _by_sklearn_predictive(train: Tensor, settings: Settings) -> Search:
    """The expected density."""
    fit, n_used = _sklearn_variational(train, settings)
    names = ("weights_", "means_", "mean_precision_", "degrees_of_freedom_", "covariances_")
    density = PredictiveDensity(*(torch.as_tensor(getattr(fit, name)) for name in names))
    return Search([Candidate(density, n_used, "full", fit.converged_)])


def _by_tgmm(train: Tensor, settings: Settings) -> Search:
    """By its own loop over structures and numbers, with its own tolerance."""
    import tgmm

    selection = tgmm.select_model(
        train,
        settings.sizes,
        tuple(_TGMM_KINDS.values()),
        n_init=settings.n_init,
        random_state=settings.seed,
        reg_covar=settings.reg_covar,
        max_iter=settings.max_iter,
        device="cpu",
    )
    found, names = Search(), {kind: name for name, kind in _TGMM_KINDS.items()}
    for row in selection.table:
        size, structure, bic = row["n_components"], names[row["covariance_type"]], row["bic"]
        if bic is None or not math.isfinite(bic):
            found.failures.append(f"{structure} {size}: its BIC is {bic}")
            continue
        fit = selection.models_[size, row["covariance_type"]]
        try:
            mixture = _mixture(fit, structure)
        except ValueError as error:
            found.failures.append(f"{structure} {size}: {error}")
            continue
        found.candidates.append(
            _candidate(mixture, size, structure, fit.converged_, bic=float(bic))
        )
    return found


CONTENDERS: dict[str, Callable[[Tensor, Settings], Search]] = {
    BASELINE: _by_sklearn,
    OURS: _by_em,
    "low rank": _by_low_rank,
    PRODUCTS: _by_products,
    "VariationalEM": _by_variational,
    "scikit-learn, variational": _by_sklearn_variational,
    "VariationalEM, predictive": _by_predictive,
    "scikit-learn, predictive": _by_sklearn_predictive,
    TGMM: _by_tgmm,
}
"""What each does with a training part."""
