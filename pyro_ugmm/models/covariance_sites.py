"""How a covariance structure is made of variances and correlations, each with a prior."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ..distributions import (
    DiagonalCovariance,
    FullCovariance,
    LowRankCovariance,
    SphericalCovariance,
    TiedCovariance,
)
from ..distributions.covariance import Covariance
from .loadings_prior import LoadingsPrior
from .mixture_site import MixtureSite

__all__ = ["COVARIANCE_SITES", "CovarianceSites"]

_LEAST_NOISE = 1e-4  # of a feature's variance, where a guide starts


class CovarianceSites(ABC):
    """A covariance structure's variances and correlations; a namespace of functions."""

    dims: ClassVar[tuple[str, ...]]
    """What the dimensions of the variances are called."""

    @staticmethod
    def unit(spread: Tensor) -> Tensor:
        """The unit of variances, which broadcasts to their shape, given features' spreads."""
        return spread.square()

    @classmethod
    def correlated(
        cls, sizes: Mapping[str, int], concentration: float | None, like: Tensor
    ) -> dict[str, MixtureSite]:
        """The site, by name, that says how two features or more are correlated, if they are.

        Args:
            sizes: of dimensions, by name.
            concentration: of its prior; None, if it has none.
            like: of its dtype and device.
        """
        return {}

    @staticmethod
    @abstractmethod
    def build(values: Mapping[str, Tensor]) -> Covariance:
        """Makes the covariance of the sites' values; of one feature, without correlations."""

    @staticmethod
    def read(covariance: Covariance) -> dict[str, Tensor]:
        """Takes a covariance apart, into the values of its sites."""
        return covariance.tensors()


class _DiagonalSites(CovarianceSites):
    dims = ("component", "feature")

    @staticmethod
    def build(values: Mapping[str, Tensor]) -> Covariance:
        return DiagonalCovariance(values["variances"], validate_args=False)


class _SphericalSites(CovarianceSites):
    dims = ("component",)

    @staticmethod
    def unit(spread: Tensor) -> Tensor:
        return spread.square().mean()

    @staticmethod
    def build(values: Mapping[str, Tensor]) -> Covariance:
        return SphericalCovariance(values["variances"], validate_args=False)


class _MatrixSites(CovarianceSites):
    """Correlations are Cholesky factors of correlation matrices."""

    structure: ClassVar[type[FullCovariance] | type[TiedCovariance]]
    batch_dims: ClassVar[tuple[str, ...]]

    @classmethod
    def correlated(
        cls, sizes: Mapping[str, int], concentration: float | None, like: Tensor
    ) -> dict[str, MixtureSite]:
        n_features, batch = sizes["feature"], tuple(sizes[dim] for dim in cls.batch_dims)
        eye = torch.eye(n_features).to(like).expand(*batch, -1, -1).clone()
        prior = None
        if concentration is not None:
            lkj = dist.LKJCholesky(n_features, like.new_full(batch, concentration))
            prior = lkj.to_event(len(batch))
        dims = (*cls.batch_dims, "feature", "feature_before")
        return {"correlations": MixtureSite(dims, prior, eye, constraints.corr_cholesky)}

    @classmethod
    def build(cls, values: Mapping[str, Tensor]) -> Covariance:
        factor = values["variances"].sqrt().unsqueeze(-1)
        if "correlations" in values:
            factor = factor * values["correlations"]
        return cls.structure.from_factor(factor)

    @staticmethod
    def read(covariance: Covariance) -> dict[str, Tensor]:
        factor = covariance.tensors(computed=True)["factor"]
        variances = factor.square().sum(-1)
        return {"variances": variances, "correlations": factor / variances.sqrt().unsqueeze(-1)}


class _FullSites(_MatrixSites):
    dims, batch_dims = ("component", "feature"), ("component",)
    structure = FullCovariance


class _TiedSites(_MatrixSites):
    dims, batch_dims = ("feature",), ()
    structure = TiedCovariance


class _LowRankSites(CovarianceSites):
    r"""Variances are the features', of which :math:`1 / (1 + \lVert u_d \rVert^2)` is noise, whose
    standard deviation is the unit of the loadings :math:`u_d`.
    """

    dims = ("component", "feature")

    @classmethod
    def correlated(
        cls, sizes: Mapping[str, int], concentration: float | None, like: Tensor
    ) -> dict[str, MixtureSite]:
        dims = (*cls.dims, "common_factor")
        n_components, n_features, rank = (sizes[dim] for dim in dims)
        generator = torch.Generator().manual_seed(0)
        start = torch.randn(n_features, rank, generator=generator, dtype=torch.float64)
        start = (start / rank**0.5).to(like).expand(n_components, -1, -1).clone()
        prior = None
        if concentration is not None:
            prior = LoadingsPrior(concentration, start).to_event(1)
        return {"loadings": MixtureSite(dims, prior, start, constraints.real)}

    @staticmethod
    def build(values: Mapping[str, Tensor]) -> Covariance:
        variances = values["variances"]
        loadings = values.get("loadings", torch.zeros_like(variances).unsqueeze(-1))
        noise = variances / (1 + loadings.square().sum(-1))
        factor = noise.sqrt().unsqueeze(-1) * loadings
        return LowRankCovariance(factor, noise, validate_args=False)

    @staticmethod
    def read(covariance: Covariance) -> dict[str, Tensor]:
        factor, noise = covariance.tensors().values()
        common = factor.square().sum(-1)
        noise = torch.maximum(noise, _LEAST_NOISE * (noise + common))
        return {"variances": noise + common, "loadings": factor / noise.sqrt().unsqueeze(-1)}


COVARIANCE_SITES: dict[str, type[CovarianceSites]] = {
    FullCovariance.name: _FullSites,
    TiedCovariance.name: _TiedSites,
    DiagonalCovariance.name: _DiagonalSites,
    SphericalCovariance.name: _SphericalSites,
    LowRankCovariance.name: _LowRankSites,
}
