"""What a covariance structure keeps of the second moments of rows, as sums that add.

Blocks of rows are ``(D, B)``, features first, so that every operation runs along memory.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["SecondMoments", "SharedMoments"]


class SecondMoments(ABC):
    r"""What a structure keeps of :math:`\sum_n r_{nk} v v^T`, linearly.

    What has to do with products is asked of structures that have a natural form.
    """

    def n_products(self, n_features: int) -> int:
        """The number of products of a row's entries that the components' moments need."""
        raise NotImplementedError

    def write_products(self, y: Tensor, out: Tensor) -> None:
        """Writes the products of rows ``(D, B)`` to ``out``, shape ``(n_rows(D), B)``."""
        raise NotImplementedError

    def n_rows(self, n_features: int) -> int:
        """The rows that :meth:`write_products` writes; the first ``n_products`` count."""
        return n_features

    def unpack(self, products: Tensor, n_features: int) -> Tensor:
        """Turns weighted sums of products, ``(n_products, K)``, into second moments."""
        raise NotImplementedError

    def shared(self, y: Tensor, responsibilities: Tensor) -> Tensor | None:
        """The second moments of rows ``(D, B)``, where all components share them."""
        return None

    @abstractmethod
    def sum(self, weighted: Tensor, deviations: Tensor) -> Tensor:
        """Sums products of deviations ``(K, D, B)`` with weighted deviations over rows."""

    @abstractmethod
    def outer(self, vectors: Tensor, mass: Tensor) -> Tensor:
        """The second moments of vectors ``(..., K, D)`` with masses ``(..., K)``."""

    def at_least(self, central: Tensor, least: Tensor) -> Tensor:
        """Raises sums of squares to at least those of ``least``."""
        return torch.maximum(central, least)

    @abstractmethod
    def project(self, matrices: Tensor) -> Tensor:
        """Reduces dense second moments ``(..., K, D, D)`` to what the structure keeps."""

    def add(self, total: Tensor, at: Tensor | slice, part: Tensor) -> None:
        """Adds the moments of the components ``at`` to those of all."""
        total[at] += part

    def unflatten(self, total: Tensor, batch_shape: torch.Size) -> Tensor:
        """Returns the moments of a batch whose components were joined to those of one mixture."""
        return total.unflatten(0, (*batch_shape, -1)) if batch_shape else total


class SharedMoments(SecondMoments):
    """Moments that all components of a mixture share."""

    def n_products(self, n_features: int) -> int:
        return 0

    def n_rows(self, n_features: int) -> int:
        return 0

    def write_products(self, y: Tensor, out: Tensor) -> None:
        pass

    def add(self, total: Tensor, at: Tensor | slice, part: Tensor) -> None:
        total += part

    def unflatten(self, total: Tensor, batch_shape: torch.Size) -> Tensor:
        return total.expand(*batch_shape, *total.shape)
