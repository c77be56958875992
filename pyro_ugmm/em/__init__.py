"""Gaussian mixtures fitted by expectation maximization."""

from .fitter import EMFitter
from .initialization import initialize
from .priors import ConjugatePrior
from .result import EMResult, Finding
from .selection import Selection, select
from .statistics import SufficientStatistics

__all__ = [
    "ConjugatePrior",
    "EMFitter",
    "EMResult",
    "Finding",
    "Selection",
    "SufficientStatistics",
    "initialize",
    "select",
]
