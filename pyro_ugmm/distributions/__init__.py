"""Gaussian mixtures as Pyro distributions."""

from .univariate import UnivariateGaussianMixture

__all__ = ["UnivariateGaussianMixture"]
