"""Gaussian mixtures as Pyro distributions."""

from .covariance import (
    Covariance,
    DiagonalCovariance,
    FullCovariance,
    SphericalCovariance,
    TiedCovariance,
)
from .imputation import impute
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
    "impute",
]
