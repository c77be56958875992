"""Gaussian mixtures as Pyro distributions."""

from .covariance import (
    Covariance,
    DiagonalCovariance,
    FullCovariance,
    SphericalCovariance,
    TiedCovariance,
)
from .multivariate import GaussianMixture
from .univariate import UnivariateGaussianMixture

__all__ = [
    "Covariance",
    "DiagonalCovariance",
    "FullCovariance",
    "GaussianMixture",
    "SphericalCovariance",
    "TiedCovariance",
    "UnivariateGaussianMixture",
]
