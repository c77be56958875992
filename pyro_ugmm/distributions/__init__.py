"""Gaussian mixtures as Pyro distributions."""

from .covariance import (
    Covariance,
    DiagonalCovariance,
    FullCovariance,
    LowRankCovariance,
    SphericalCovariance,
    TiedCovariance,
)
from .divergence import MonteCarloEstimate, kl_bounds, kl_monte_carlo, kl_variational
from .entropy import Bounds, entropy_bounds
from .imputation import impute
from .multivariate import GaussianMixture
from .univariate import UnivariateGaussianMixture

__all__ = [
    "Bounds",
    "Covariance",
    "DiagonalCovariance",
    "FullCovariance",
    "GaussianMixture",
    "LowRankCovariance",
    "MonteCarloEstimate",
    "SphericalCovariance",
    "TiedCovariance",
    "UnivariateGaussianMixture",
    "entropy_bounds",
    "impute",
    "kl_bounds",
    "kl_monte_carlo",
    "kl_variational",
]
