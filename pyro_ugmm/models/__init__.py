"""Pyro models built of Gaussian mixtures, and their priors."""

from .network import UGMMClassifier
from .priors import Priors

__all__ = ["Priors", "UGMMClassifier"]
