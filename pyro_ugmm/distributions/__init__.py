"""Gaussian mixtures as Pyro distributions."""

from .background_mixture import BackgroundMixture
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
from .modes import count_modes
from .multivariate import GaussianMixture
from .normalized_neurons import normalized_neurons
from .ugmm_completion import most_probable_completion
from .ugmm_mixture import UGMMMixture
from .uniform_box import UniformBox
from .uniform_hull import UniformHull
from .univariate import UnivariateGaussianMixture

__all__ = [
    "BackgroundMixture",
    "Bounds",
    "Covariance",
    "DiagonalCovariance",
    "FullCovariance",
    "GaussianMixture",
    "LowRankCovariance",
    "MonteCarloEstimate",
    "SphericalCovariance",
    "TiedCovariance",
    "UGMMMixture",
    "UniformBox",
    "UniformHull",
    "UnivariateGaussianMixture",
    "count_modes",
    "entropy_bounds",
    "impute",
    "kl_bounds",
    "kl_monte_carlo",
    "kl_variational",
    "most_probable_completion",
    "normalized_neurons",
]
