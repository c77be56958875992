"""Wishart distributions of precisions, as distributions of variances and correlations."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from pyro.distributions import Gamma, InverseGamma
from torch import Tensor

from ..distributions import (
    DiagonalCovariance,
    FullCovariance,
    SphericalCovariance,
    TiedCovariance,
)
from ..em.variational.normal_wishart import NormalWishart

__all__ = ["PRECISION_SITES", "PrecisionSites"]


class PrecisionSites(ABC):
    """The sites that a distribution of precisions is made of."""

    @abstractmethod
    def draw(self, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draws values of the sites."""

    @abstractmethod
    def color(self, noise: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """Gives white noise ``(..., K, D)`` the covariances of values."""

    @abstractmethod
    def log_density(self, values: Mapping[str, Tensor]) -> Tensor:
        """Evaluates the log density of all sites together, in the shape of the draws."""


class _Variances(PrecisionSites):
    """Independent inverse gamma distributions."""

    def __init__(self, degrees: Tensor, scatter: Tensor) -> None:
        self._variances = InverseGamma(degrees / 2, scatter / 2, validate_args=False)

    def draw(self, shape: tuple[int, ...]) -> dict[str, Tensor]:
        return {"variances": self._variances.sample(torch.Size(shape))}

    def color(self, noise: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        return noise * values["variances"].sqrt().reshape(*noise.shape[:-1], -1)

    def log_density(self, values: Mapping[str, Tensor]) -> Tensor:
        n_dims = len(self._variances.batch_shape)
        return self._variances.log_prob(values["variances"]).flatten(-n_dims).sum(-1)


class _Matrices(PrecisionSites):
    r"""Inverse Wishart distributions, of matrices :math:`\Sigma = S R S` with correlations
    :math:`R = L L^T` and variances :math:`s = S^2`.

    .. math:: \left| \frac{\partial \Sigma}{\partial (s, L)} \right|
        = \prod_i s_i^{(D - 1) / 2} \, L_{ii}^{D - i}
    """

    def __init__(self, degrees: Tensor, scatter: Tensor) -> None:
        self._degrees, self._scatter = degrees, scatter
        self._n_features = scatter.shape[-1]
        self._factor = torch.linalg.cholesky(scatter)
        after = torch.arange(self._n_features - 1, -1, -1).to(degrees)
        self._gammas = Gamma((degrees.unsqueeze(-1) - after) / 2, 0.5, validate_args=False)
        self._log_normalizer = (
            degrees * (self._log_volume(self._factor) - self._n_features / 2 * math.log(2))
            - self._gammas.concentration.lgamma().sum(-1)
            - self._n_features * (self._n_features - 1) / 4 * math.log(math.pi)
        )

    @staticmethod
    def _log_volume(factor: Tensor) -> Tensor:
        return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def draw(self, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draws a factor of the precision of unit scatter, by Bartlett's decomposition."""
        diagonal = self._gammas.sample(torch.Size(shape)).sqrt()
        noise = torch.randn(*diagonal.shape, self._n_features).to(diagonal)
        triangle = noise.tril(-1) + diagonal.diag_embed()
        own = self._factor.expand_as(triangle)
        factor = torch.linalg.solve_triangular(triangle, own, upper=False, left=False)
        variances = factor.square().sum(-1)
        if self._n_features == 1:
            return {"variances": variances}
        return {"variances": variances, "correlations": factor / variances.sqrt().unsqueeze(-1)}

    @staticmethod
    def _covariance_factor(values: Mapping[str, Tensor]) -> Tensor:
        scales = values["variances"].sqrt().unsqueeze(-1)
        return scales * values["correlations"] if "correlations" in values else scales

    def color(self, noise: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        n_features = self._n_features
        factor = self._covariance_factor(values)
        factor = factor.reshape(*noise.shape[:-2], -1, n_features, n_features)
        return (factor @ noise.unsqueeze(-1)).squeeze(-1)

    def log_density(self, values: Mapping[str, Tensor]) -> Tensor:
        n_features, factor = self._n_features, self._covariance_factor(values)
        variances, diagonal = values["variances"], factor.diagonal(dim1=-2, dim2=-1)
        own = self._factor.expand_as(factor)
        whitened = torch.linalg.solve_triangular(factor, own, upper=False)
        density = (
            self._log_normalizer
            - (self._degrees + n_features + 1) * self._log_volume(factor)
            - whitened.square().sum((-2, -1)) / 2
        )
        remaining = torch.arange(n_features - 1, -1, -1).to(variances)
        volume = remaining * diagonal.log() + (n_features - 1 - remaining) / 2 * variances.log()
        density = density + volume.sum(-1)
        n_dims = self._degrees.dim()
        return density.flatten(-n_dims).sum(-1) if n_dims else density


def _of_full(components: NormalWishart) -> PrecisionSites:
    return _Matrices(components.degrees_of_freedom.to(components.means), components.scatter)


def _of_tied(components: NormalWishart) -> PrecisionSites:
    degrees = components.degrees_of_freedom.sum().to(components.means)
    return _Matrices(degrees, components.scatter)


def _of_diagonal(components: NormalWishart) -> PrecisionSites:
    degrees = components.degrees_of_freedom.to(components.means).unsqueeze(-1)
    return _Variances(degrees, components.scatter)


def _of_spherical(components: NormalWishart) -> PrecisionSites:
    degrees = components.degrees_of_freedom.to(components.means)
    return _Variances(components.means.shape[-1] * degrees, components.scatter)


PRECISION_SITES = {
    FullCovariance.name: _of_full,
    TiedCovariance.name: _of_tied,
    DiagonalCovariance.name: _of_diagonal,
    SphericalCovariance.name: _of_spherical,
}
