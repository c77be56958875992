"""The second moments of rows that each covariance structure keeps, as sums that add.

Blocks of rows are ``(D, B)``, features first, so that every operation runs along memory.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["DiagonalMoments", "FullMoments", "SecondMoments", "SphericalMoments", "TiedMoments"]


class SecondMoments(ABC):
    r"""What a structure keeps of :math:`\sum_n r_{nk} v v^T`; a namespace of functions."""

    @staticmethod
    @abstractmethod
    def n_products(n_features: int) -> int:
        """The number of products of a row's entries that the components' moments need."""

    @staticmethod
    @abstractmethod
    def write_products(y: Tensor, out: Tensor) -> None:
        """Writes the products of rows ``(D, B)`` to ``out``, shape ``(n_rows(D), B)``."""

    @staticmethod
    def n_rows(n_features: int) -> int:
        """The rows that :meth:`write_products` writes; the first ``n_products`` count."""
        return n_features

    @staticmethod
    @abstractmethod
    def unpack(products: Tensor, n_features: int) -> Tensor:
        """Turns weighted sums of products, ``(n_products, K)``, into second moments."""

    @staticmethod
    def shared(y: Tensor, responsibilities: Tensor) -> Tensor | None:
        """The second moments of rows ``(D, B)``, where all components share them."""
        return None

    @staticmethod
    @abstractmethod
    def sum(weighted: Tensor, deviations: Tensor) -> Tensor:
        """Sums products of deviations ``(K, D, B)`` with weighted deviations over rows."""

    @staticmethod
    @abstractmethod
    def outer(vectors: Tensor, mass: Tensor) -> Tensor:
        """The second moments of vectors ``(..., K, D)`` with masses ``(..., K)``."""

    @staticmethod
    def raised(central: Tensor, least: Tensor) -> Tensor:
        """Raises sums of squares to at least those of ``least``."""
        return torch.maximum(central, least)

    @staticmethod
    @abstractmethod
    def project(matrices: Tensor) -> Tensor:
        """Reduces dense second moments ``(..., K, D, D)`` to what the structure keeps."""


def _with_raised_diagonal(central: Tensor, least: Tensor) -> Tensor:
    needed = (least - central).diagonal(dim1=-2, dim2=-1).clamp(min=0)
    return central + needed.diag_embed()


class FullMoments(SecondMoments):
    r"""A matrix for each component.

    Products are stored by cyclic diagonals: all :math:`y_i y_{(i+s) \bmod D}` for a shift
    :math:`s`, then for the next. Each shift is one contiguous product of the rows with themselves.
    """

    @staticmethod
    def n_products(n_features: int) -> int:
        return n_features * (n_features + 1) // 2

    @staticmethod
    def n_rows(n_features: int) -> int:
        return n_features * (n_features // 2 + 1)

    @staticmethod
    def write_products(y: Tensor, out: Tensor) -> None:
        n_features, n_rows = y.shape
        shape = (n_features // 2 + 1, n_features, n_rows)
        twice = torch.cat([y, y])
        shifted = twice.as_strided(shape, (n_rows, n_rows, 1))
        torch.mul(y, shifted, out=out.view(shape))

    @staticmethod
    def indices(n_features: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The two features of each product."""
        at = torch.arange(FullMoments.n_products(n_features), device=device)
        first = at % n_features
        return first, (first + at // n_features) % n_features

    @staticmethod
    def unpack(products: Tensor, n_features: int) -> Tensor:
        i, j = FullMoments.indices(n_features, products.device)
        matrices = products.new_empty(products.shape[1], n_features, n_features)
        matrices[:, i, j] = products.T
        matrices[:, j, i] = products.T
        return matrices

    @staticmethod
    def sum(weighted: Tensor, deviations: Tensor) -> Tensor:
        return torch.bmm(weighted, deviations.transpose(1, 2))

    @staticmethod
    def outer(vectors: Tensor, mass: Tensor) -> Tensor:
        return (mass.unsqueeze(-1) * vectors).unsqueeze(-1) * vectors.unsqueeze(-2)

    @staticmethod
    def raised(central: Tensor, least: Tensor) -> Tensor:
        return _with_raised_diagonal(central, least)

    @staticmethod
    def project(matrices: Tensor) -> Tensor:
        return matrices


class TiedMoments(SecondMoments):
    """One matrix for all components."""

    @staticmethod
    def n_products(n_features: int) -> int:
        return 0

    @staticmethod
    def n_rows(n_features: int) -> int:
        return 0

    @staticmethod
    def write_products(y: Tensor, out: Tensor) -> None:
        pass

    @staticmethod
    def unpack(products: Tensor, n_features: int) -> Tensor:
        return products.new_zeros(n_features, n_features)

    @staticmethod
    def shared(y: Tensor, responsibilities: Tensor) -> Tensor | None:
        return (y * responsibilities.sum(0)) @ y.T

    @staticmethod
    def sum(weighted: Tensor, deviations: Tensor) -> Tensor:
        return torch.bmm(weighted, deviations.transpose(1, 2)).sum(0)

    @staticmethod
    def outer(vectors: Tensor, mass: Tensor) -> Tensor:
        return (mass.unsqueeze(-1) * vectors).mT @ vectors

    @staticmethod
    def raised(central: Tensor, least: Tensor) -> Tensor:
        return _with_raised_diagonal(central, least)

    @staticmethod
    def project(matrices: Tensor) -> Tensor:
        return matrices.sum(-3)


class DiagonalMoments(SecondMoments):
    """A square for each component and feature."""

    @staticmethod
    def n_products(n_features: int) -> int:
        return n_features

    @staticmethod
    def write_products(y: Tensor, out: Tensor) -> None:
        torch.mul(y, y, out=out)

    @staticmethod
    def unpack(products: Tensor, n_features: int) -> Tensor:
        return products.T

    @staticmethod
    def sum(weighted: Tensor, deviations: Tensor) -> Tensor:
        return (weighted * deviations).sum(-1)

    @staticmethod
    def outer(vectors: Tensor, mass: Tensor) -> Tensor:
        return mass.unsqueeze(-1) * vectors.square()

    @staticmethod
    def project(matrices: Tensor) -> Tensor:
        return matrices.diagonal(dim1=-2, dim2=-1)


class SphericalMoments(SecondMoments):
    """The sum of all features' squares, for each component."""

    @staticmethod
    def n_products(n_features: int) -> int:
        return 1

    @staticmethod
    def n_rows(n_features: int) -> int:
        return 1

    @staticmethod
    def write_products(y: Tensor, out: Tensor) -> None:
        torch.sum(y * y, 0, keepdim=True, out=out)

    @staticmethod
    def unpack(products: Tensor, n_features: int) -> Tensor:
        return products[0]

    @staticmethod
    def sum(weighted: Tensor, deviations: Tensor) -> Tensor:
        return (weighted * deviations).sum((-2, -1))

    @staticmethod
    def outer(vectors: Tensor, mass: Tensor) -> Tensor:
        return mass * vectors.square().sum(-1)

    @staticmethod
    def project(matrices: Tensor) -> Tensor:
        return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)
