"""Covariance structures of a Gaussian mixture's components, one class each."""

from .base import Covariance
from .diagonal import DiagonalCovariance
from .full import FullCovariance
from .spherical import SphericalCovariance
from .tied import TiedCovariance

__all__ = [
    "STRUCTURES",
    "Covariance",
    "DiagonalCovariance",
    "FullCovariance",
    "SphericalCovariance",
    "TiedCovariance",
]

STRUCTURES: dict[str, type[Covariance]] = {
    structure.name: structure
    for structure in (FullCovariance, TiedCovariance, DiagonalCovariance, SphericalCovariance)
}
"""The structures by the names that scikit-learn gave them, and ours."""
