"""Gaussian mixtures fitted by expectation maximization."""

from typing import TYPE_CHECKING, Any

from .fitter import EMFitter
from .initialization import initialize
from .priors import ConjugatePrior
from .result import EMResult, Finding
from .selection import Candidate, Selection, select
from .statistics import SufficientStatistics

if TYPE_CHECKING:
    from .estimator import GaussianMixtureEstimator

__all__ = [
    "Candidate",
    "ConjugatePrior",
    "EMFitter",
    "EMResult",
    "Finding",
    "GaussianMixtureEstimator",
    "Selection",
    "SufficientStatistics",
    "initialize",
    "select",
]


def __getattr__(name: str) -> Any:
    # scikit-learn loads when its interface is first used.
    if name == "GaussianMixtureEstimator":
        from .estimator import GaussianMixtureEstimator

        return GaussianMixtureEstimator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
