"""The Wishart distributions of the precisions of a covariance structure."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...distributions import (
    DiagonalCovariance,
    FullCovariance,
    SphericalCovariance,
    TiedCovariance,
)

__all__ = ["PRECISION_LAWS", "PrecisionLaw", "of_matrices"]


@dataclass(frozen=True)
class PrecisionLaw:
    r"""What a Wishart distribution's normalizer and expected log determinant depend on.

    A structure's precisions are made of :math:`m` gamma variables. With degrees of freedom
    :math:`\nu`, and :math:`c` such distributions in one, the normalizer has the factor of
    :math:`\exp h(\nu)` and the expected log determinant the term :math:`2 h'(\nu)`:

    .. math:: h(\nu) = \frac{D}{m c} \sum_{j=1}^m \log \Gamma\Bigl(\frac{c \nu - o_j}{2}\Bigr)
        - \frac{D \nu}{2} \log c

    Args:
        offsets: the :math:`o_j`.
        count: :math:`c`.
        n_features: :math:`D`.
        n_joint: how many features have precisions of one such distribution.
    """

    offsets: tuple[int, ...]
    count: int
    n_features: int
    n_joint: int

    def _arguments(self, degrees: Tensor) -> Tensor:
        offsets = torch.tensor(self.offsets, dtype=degrees.dtype, device=degrees.device)
        return (self.count * degrees.unsqueeze(-1) - offsets) / 2

    def predictive_degrees(self, degrees: Tensor) -> Tensor:
        """The degrees of freedom of the t distribution of a row to come."""
        return self.count * degrees - self.offsets[-1]

    def log_normalizer(self, degrees: Tensor) -> Tensor:
        r"""Evaluates :math:`h(\nu)`."""
        of_gammas = self._arguments(degrees).lgamma().mean(-1) / self.count
        return self.n_features * (of_gammas - degrees / 2 * math.log(self.count))

    def expected_log(self, degrees: Tensor) -> Tensor:
        r"""Evaluates :math:`2 h'(\nu)`."""
        return self.n_features * (
            self._arguments(degrees).digamma().mean(-1) - math.log(self.count)
        )


def of_matrices(n_components: int, n_features: int) -> PrecisionLaw:
    """A Wishart distribution for each component."""
    return PrecisionLaw((*range(n_features),), 1, n_features, n_features)


def _of_one_matrix(n_components: int, n_features: int) -> PrecisionLaw:
    """One Wishart distribution, of which each component has its share."""
    return PrecisionLaw((*range(n_features),), n_components, n_features, n_features)


def _of_diagonals(n_components: int, n_features: int) -> PrecisionLaw:
    """A gamma distribution for each feature."""
    return PrecisionLaw((0,), 1, n_features, 1)


def _of_numbers(n_components: int, n_features: int) -> PrecisionLaw:
    """A gamma distribution for each component, to which all features contribute."""
    return PrecisionLaw((0,), n_features, n_features, n_features)


PRECISION_LAWS: dict[str, Callable[[int, int], PrecisionLaw]] = {
    FullCovariance.name: of_matrices,
    TiedCovariance.name: _of_one_matrix,
    DiagonalCovariance.name: _of_diagonals,
    SphericalCovariance.name: _of_numbers,
}
