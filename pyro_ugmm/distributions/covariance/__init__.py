"""Covariance structures of a Gaussian mixture's components, one class each."""

from .base import Covariance
from .diagonal import DiagonalCovariance
from .full import FullCovariance
from .low_rank import LowRankCovariance
from .matrices import MatrixCovariance
from .spherical import SphericalCovariance
from .tied import TiedCovariance
from .variances import VarianceCovariance

__all__ = [
    "ESTIMATOR_STRUCTURES",
    "SKLEARN_STRUCTURES",
    "STRUCTURES",
    "Covariance",
    "DiagonalCovariance",
    "FullCovariance",
    "LowRankCovariance",
    "SphericalCovariance",
    "TiedCovariance",
]

STRUCTURES: dict[str, type[Covariance]] = {
    structure.name: structure
    for structure in (
        FullCovariance,
        TiedCovariance,
        DiagonalCovariance,
        SphericalCovariance,
        LowRankCovariance,
    )
}
"""All structures, by their names."""

SKLEARN_STRUCTURES: dict[str, type[MatrixCovariance] | type[VarianceCovariance]] = {
    "full": FullCovariance,
    "tied": TiedCovariance,
    "diag": DiagonalCovariance,
    "spherical": SphericalCovariance,
}
"""Those that scikit-learn has too, by its names. Their one argument has its shape."""

ESTIMATOR_STRUCTURES: dict[str, type[Covariance]] = {
    **SKLEARN_STRUCTURES,
    LowRankCovariance.name: LowRankCovariance,
}
"""Those that an estimator in its words fits."""
