"""Gaussian mixtures fitted by expectation maximization."""

from typing import TYPE_CHECKING, Any

from .algorithm import EMAlgorithm
from .conjugate_prior import ConjugatePrior
from .fitter import EMFitter
from .group_fits import GroupFits
from .groups import fit_groups
from .initialization import initialize
from .result import EMResult, Finding
from .selection import Candidate, Selection, select
from .state import EMState
from .statistics import SufficientStatistics
from .stepwise import StepwiseEM, StepwiseState
from .stopping import Ascent, StoppingRule
from .ugmm.fitter import UGMMFitter
from .ugmm.result import UGMMResult
from .ugmm.start import initialize_ugmm
from .variational.fitter import VariationalEM
from .variational.predictive import PosteriorPredictive
from .variational.priors import VariationalPriors
from .variational.result import VariationalResult

if TYPE_CHECKING:
    from .estimator import GaussianMixtureEstimator
    from .variational.estimator import BayesianGaussianMixtureEstimator

__all__ = [
    "Ascent",
    "BayesianGaussianMixtureEstimator",
    "Candidate",
    "ConjugatePrior",
    "EMAlgorithm",
    "EMFitter",
    "EMResult",
    "EMState",
    "Finding",
    "GaussianMixtureEstimator",
    "GroupFits",
    "PosteriorPredictive",
    "Selection",
    "StepwiseEM",
    "StepwiseState",
    "StoppingRule",
    "SufficientStatistics",
    "UGMMFitter",
    "UGMMResult",
    "VariationalEM",
    "VariationalPriors",
    "VariationalResult",
    "fit_groups",
    "initialize",
    "initialize_ugmm",
    "select",
]


def __getattr__(name: str) -> Any:
    # scikit-learn loads when its interface is first used.
    if name == "GaussianMixtureEstimator":
        from .estimator import GaussianMixtureEstimator

        return GaussianMixtureEstimator
    if name == "BayesianGaussianMixtureEstimator":
        from .variational.estimator import BayesianGaussianMixtureEstimator

        return BayesianGaussianMixtureEstimator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
