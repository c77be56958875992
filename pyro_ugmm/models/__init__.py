"""Pyro models built of Gaussian mixtures, and their priors."""

from .base import BayesianModel
from .classifier import UGMMClassifier
from .deep_classifier import DeepClassifier
from .density import UGMMDensity
from .gaussian_mixture import BayesianGaussianMixture
from .hierarchical_mixture import HierarchicalGaussianMixture
from .priors import Priors
from .regressor import UGMMRegressor

__all__ = [
    "BayesianGaussianMixture",
    "BayesianModel",
    "DeepClassifier",
    "HierarchicalGaussianMixture",
    "Priors",
    "UGMMClassifier",
    "UGMMDensity",
    "UGMMRegressor",
]
