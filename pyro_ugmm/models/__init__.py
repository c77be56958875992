"""Pyro models built of Gaussian mixtures, and their priors."""

from .base import BayesianModel
from .gaussian_mixture import BayesianGaussianMixture
from .network import UGMMClassifier
from .priors import Priors

__all__ = ["BayesianGaussianMixture", "BayesianModel", "Priors", "UGMMClassifier"]
