r"""Partly observed rows: the marginal density of what is there, and what it says of the rest.

For a Gaussian and a row observed in the dimensions :math:`o` but not in :math:`m`,

.. math::
    E[x_m \mid x_o] = \mu_m + \Sigma_{mo} \Sigma_{oo}^{-1} (x_o - \mu_o), \qquad
    \mathrm{cov}[x_m \mid x_o] = \Sigma_{mm} - \Sigma_{mo} \Sigma_{oo}^{-1} \Sigma_{om}.

Rows differ in what they miss, so instead of cutting matrices to size, missing dimensions get an
identity of their own: the determinant and the quadratic form are then those of :math:`\Sigma_{oo}`.
"""

import math
from typing import Protocol

import torch
from torch import Tensor

from .factorization import factorize

__all__ = [
    "Completion",
    "MatrixCompletion",
    "VarianceCompletion",
    "incomplete_rows_at_once",
    "observed_factor",
    "observed_log_density",
]


_ENTRIES_AT_ONCE = 4_000_000


def incomplete_rows_at_once(means: Tensor) -> int:
    """Of how many rows the completions under all means ``(..., K, D)`` fit in memory."""
    return max(1, _ENTRIES_AT_ONCE // (means.numel() * means.shape[-1]))


def _filled(x: Tensor) -> Tensor:
    return torch.where(x.isnan(), 0, x)


def observed_factor(matrices: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Inverts the Cholesky factors of the observed parts; also their log determinants."""
    o = observed.to(matrices.dtype)
    masked = matrices * o.unsqueeze(-1) * o.unsqueeze(-2) + (1 - o).diag_embed()
    factor = factorize(masked)[1]
    eye = torch.eye(o.shape[-1], dtype=o.dtype, device=o.device)
    inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
    return inverse, 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _normalized(square: Tensor, log_determinant: Tensor, observed: Tensor) -> Tensor:
    count = observed.sum(-1).to(square.dtype)
    return -0.5 * (square + log_determinant + count * math.log(2 * math.pi))


def observed_log_density(x: Tensor, means: Tensor, matrices: Tensor) -> Tensor:
    """Evaluates the marginal log densities of rows ``(..., D)`` with NaN for what is missing.

    Means are ``(..., K, D)``, matrices ``(..., K, D, D)``; the result is ``(..., K)``.
    """
    observed = ~x.isnan().unsqueeze(-2)
    y = torch.where(observed, _filled(x).unsqueeze(-2) - means, 0)
    inverse, log_determinant = observed_factor(matrices, observed)
    z = (inverse @ y.unsqueeze(-1)).squeeze(-1)
    return _normalized(z.square().sum(-1), log_determinant, observed)


class Completion(Protocol):
    """Rows ``(n, D)`` completed under ``K`` components.

    Attributes:
        log_density: marginal log densities of what is observed, ``(n, K)``.
        deviations: expected deviations of the completed rows from the means, ``(n, K, D)``.
    """

    log_density: Tensor
    deviations: Tensor

    def conditional_moments(self, responsibilities: Tensor) -> Tensor:
        """Sums the conditional covariances of what is missing, ``(K, D, D)``."""


class MatrixCompletion(Completion):
    """Rows completed under components with covariance matrices ``(K, D, D)``."""

    def __init__(self, x: Tensor, means: Tensor, matrices: Tensor) -> None:
        observed = ~x.isnan()
        patterns, self._pattern = observed.unique(dim=0, return_inverse=True)
        inverse, log_determinant = observed_factor(matrices, patterns.unsqueeze(1))
        y = torch.where(observed.unsqueeze(1), _filled(x).unsqueeze(1) - means, 0)
        mine = inverse[self._pattern]
        z = (mine @ y.unsqueeze(-1)).squeeze(-1)
        self.log_density = _normalized(
            z.square().sum(-1), log_determinant[self._pattern], observed.unsqueeze(1)
        )
        o = patterns.to(x.dtype)[:, None, :, None]
        solved = (mine.mT @ z.unsqueeze(-1)).squeeze(-1)
        expected = torch.einsum("kde,nke->nkd", matrices, solved)
        self.deviations = torch.where(observed.unsqueeze(1), y, expected)
        explained = inverse @ (o * matrices)
        self._conditional = (matrices - explained.mT @ explained) * (1 - o) * (1 - o.mT)

    def conditional_moments(self, responsibilities: Tensor) -> Tensor:
        mass = responsibilities.new_zeros(len(self._conditional), responsibilities.shape[1])
        mass.index_add_(0, self._pattern, responsibilities)
        return torch.einsum("uk,ukde->kde", mass, self._conditional)


class VarianceCompletion(Completion):
    """Rows completed under components whose features are uncorrelated, variances ``(K, D)``."""

    def __init__(self, x: Tensor, means: Tensor, variances: Tensor) -> None:
        observed = ~x.isnan()
        y = _filled(x).unsqueeze(1) - means
        self.deviations = torch.where(observed.unsqueeze(1), y, 0)
        self.log_density = _normalized(
            (self.deviations.square() / variances).sum(-1),
            observed.to(x.dtype) @ variances.log().T,
            observed.unsqueeze(1),
        )
        self._missing, self._variances = (~observed).to(x.dtype), variances

    def conditional_moments(self, responsibilities: Tensor) -> Tensor:
        return ((responsibilities.T @ self._missing) * self._variances).diag_embed()
