r"""Sums over rows of their entries and products, weighted by responsibilities.

After some iterations a row belongs to a few of many components. What the others would add is below
rounding: of component :math:`k`, with :math:`N_k \approx N w_k`, rows with

.. math:: r_{nk} < 10^{-3} \, \varepsilon \, w_k

add up to at most a thousandth of :math:`\varepsilon N_k`; even ten standard deviations away, their
products do to less than :math:`\varepsilon`. The others are gathered, component by component.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..distributions.covariance.moments import SecondMoments
from ..native import library
from .products_call import add_products

__all__ = ["BELOW_ROUNDING", "DenseProducts", "SparseProducts", "products_for"]

BELOW_ROUNDING = 1e-3
"""Of a machine epsilon and a component's weight, what is below rounding."""

_MOST_DENSE = 0.15  # of the responsibilities; from about a fourth on, one product is faster


class DenseProducts:
    """By one matrix product.

    Args:
        like: of the dtype, on the device.
        n_components: :math:`K`.
        n_features: :math:`D`.
        moments: of which products are kept.
    """

    def __init__(
        self, like: Tensor, n_components: int, n_features: int, moments: SecondMoments
    ) -> None:
        self._moments, self._n_features = moments, n_features
        n_terms = 1 + n_features + moments.n_products(n_features)
        self._sums = like.new_zeros(n_terms, n_components)

    def add(self, terms: Tensor, responsibilities: Tensor, weight: Tensor | None) -> None:
        """Adds rows, whose terms are ``(T, B)``: one, their entries, and their products."""
        self._sums.addmm_(terms, responsibilities.T)

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """The mass ``(K,)``, sums of entries ``(K, D)``, and what is kept of second moments."""
        mass, first = self._sums[0], self._sums[1 : 1 + self._n_features].T
        second = self._sums[1 + self._n_features :]
        return mass, first, self._moments.unpack(second, self._n_features)


class SparseProducts:
    """From the rows that a component has more than next to nothing of, by the library in C.

    Args:
        weights: of the components, ``(K,)``.
        n_features: :math:`D`.
        moments: of which products are kept.
    """

    def __init__(self, weights: Tensor, n_features: int, moments: SecondMoments) -> None:
        self._moments = moments
        eps = torch.finfo(weights.dtype).eps
        self._least = (BELOW_ROUNDING * eps * weights).unsqueeze(-1)
        self._sums = weights.new_zeros(len(weights), n_features + 1, n_features + 1)

    def counts(self, responsibilities: Tensor, weight: Tensor | None) -> Tensor:
        """Says which responsibilities, times the rows' weights, are above rounding, ``(K, B)``."""
        return responsibilities > (self._least if weight is None else self._least * weight)

    def add(self, terms: Tensor, responsibilities: Tensor, weight: Tensor | None) -> None:
        """Adds rows, as :meth:`DenseProducts.add` does."""
        rows = terms[: self._sums.shape[1]].T.contiguous()
        weight = None if weight is None else weight.contiguous()
        add_products(rows, responsibilities.contiguous(), weight, self._least, self._sums)

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """What :meth:`DenseProducts.moments` returns."""
        second = self._moments.project(self._sums[:, 1:, 1:])
        return self._sums[:, 0, 0], self._sums[:, 0, 1:], second


def products_for(
    responsibilities: Tensor,
    weight: Tensor | None,
    weights: Tensor,
    n_features: int,
    moments: SecondMoments,
) -> DenseProducts | SparseProducts:
    """Chooses what is faster for a pass, by the responsibilities ``(K, B)`` of its first rows."""
    is_many = moments.n_products(n_features) > n_features
    if is_many and weights.device.type == "cpu" and library()[0] is not None:
        sparse = SparseProducts(weights, n_features, moments)
        counts = sparse.counts(responsibilities, weight)
        if int(counts.sum()) <= _MOST_DENSE * counts.numel():
            return sparse
    return DenseProducts(responsibilities, len(weights), n_features, moments)
