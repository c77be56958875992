"""How a covariance structure is made of variances and correlations, each with a prior."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from ..distributions import (
    DiagonalCovariance,
    FullCovariance,
    SphericalCovariance,
    TiedCovariance,
)
from ..distributions.covariance import Covariance

__all__ = ["COVARIANCE_SITES", "CovarianceSites"]


class CovarianceSites(ABC):
    """A covariance structure's variances and correlations; a namespace of functions.

    Correlations are Cholesky factors of correlation matrices.
    """

    dims: ClassVar[tuple[str, ...]]
    """What the dimensions of the variances are called."""
    correlation_dims: ClassVar[tuple[str, ...] | None] = None
    """What the dimensions of the correlations before the last two are called, if there are any."""

    @staticmethod
    def unit(spread: Tensor) -> Tensor:
        """The unit of variances, which broadcasts to their shape, given features' spreads."""
        return spread.square()

    @staticmethod
    @abstractmethod
    def build(variances: Tensor, correlations: Tensor | None) -> Covariance:
        """Makes the covariance."""

    @staticmethod
    def read(covariance: Covariance) -> dict[str, Tensor]:
        """Takes a covariance apart, into ``variances`` and, if it has them, ``correlations``."""
        return covariance.tensors()


class _DiagonalSites(CovarianceSites):
    dims = ("component", "feature")

    @staticmethod
    def build(variances: Tensor, correlations: Tensor | None) -> Covariance:
        return DiagonalCovariance(variances, validate_args=False)


class _SphericalSites(CovarianceSites):
    dims = ("component",)

    @staticmethod
    def unit(spread: Tensor) -> Tensor:
        return spread.square().mean()

    @staticmethod
    def build(variances: Tensor, correlations: Tensor | None) -> Covariance:
        return SphericalCovariance(variances, validate_args=False)


class _MatrixSites(CovarianceSites):
    structure: ClassVar[type[FullCovariance] | type[TiedCovariance]]

    @classmethod
    def build(cls, variances: Tensor, correlations: Tensor | None) -> Covariance:
        scales = variances.sqrt().unsqueeze(-1)
        # In one dimension there is nothing to correlate.
        return cls.structure.from_factor(scales if correlations is None else scales * correlations)

    @staticmethod
    def read(covariance: Covariance) -> dict[str, Tensor]:
        factor = covariance.tensors(computed=True)["factor"]
        variances = factor.square().sum(-1)
        return {"variances": variances, "correlations": factor / variances.sqrt().unsqueeze(-1)}


class _FullSites(_MatrixSites):
    dims, correlation_dims = ("component", "feature"), ("component",)
    structure = FullCovariance


class _TiedSites(_MatrixSites):
    dims, correlation_dims = ("feature",), ()
    structure = TiedCovariance


COVARIANCE_SITES: dict[str, type[CovarianceSites]] = {
    FullCovariance.name: _FullSites,
    TiedCovariance.name: _TiedSites,
    DiagonalCovariance.name: _DiagonalSites,
    SphericalCovariance.name: _SphericalSites,
}
