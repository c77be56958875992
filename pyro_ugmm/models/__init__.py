"""Pyro models built of Gaussian mixtures, and their priors."""

from .base import BayesianModel
from .classifier import UGMMClassifier
from .density import UGMMDensity
from .gaussian_mixture import BayesianGaussianMixture
from .priors import Priors

__all__ = ["BayesianGaussianMixture", "BayesianModel", "Priors", "UGMMClassifier", "UGMMDensity"]
