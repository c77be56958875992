r"""The algebra of :math:`\Sigma = F F^T + V` with diagonal :math:`V`, in the rank of :math:`F`.

With :math:`U = V^{-1/2} F` and :math:`I + U^T U = L L^T`, roots of :math:`\Sigma` and of
its inverse are

.. math:: V^{1/2} \left[I + U (I + L)^{-1} U^T\right], \qquad
    \left[I - U (I + L^T)^{-1} L^{-1} U^T\right] V^{-1/2}.
"""

import torch
from torch import Tensor

from ...precision import full_precision

__all__ = ["LowRankForm", "principal_factor"]


class LowRankForm:
    """What is computed of factors ``(..., D, R)`` and variances ``(..., D)``.

    Attributes:
        scaled: :math:`U`, shape ``(..., D, R)``.
        lower: :math:`L`, of whose square no digits are lost, shape ``(..., R, R)``.
    """

    @full_precision
    def __init__(self, factor: Tensor, variances: Tensor) -> None:
        self._factor, self._variances = factor, variances
        self.scaled = factor * variances.rsqrt().unsqueeze(-1)
        eye = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
        self._eye = eye.expand(*factor.shape[:-2], *eye.shape)
        upper = torch.linalg.qr(torch.cat([self.scaled, self._eye], -2)).R
        signs = upper.diagonal(dim1=-2, dim2=-1).detach().sign()
        self.lower = (signs.unsqueeze(-1) * upper).mT

    def log_determinant(self) -> Tensor:
        r"""Evaluates :math:`\log |\Sigma|`, shape ``(...)``."""
        pivots = self.lower.diagonal(dim1=-2, dim2=-1)
        return self._variances.log().sum(-1) + 2 * pivots.log().sum(-1)

    @full_precision
    def whitening(self) -> Tensor:
        r"""Returns :math:`(I + L^T)^{-1} L^{-1} U^T`, shape ``(..., R, D)``."""
        inner = torch.linalg.solve_triangular(self.lower, self.scaled.mT, upper=False)
        return torch.linalg.solve_triangular(self._eye + self.lower.mT, inner, upper=True)

    @full_precision
    def coloring(self) -> Tensor:
        """Returns :math:`(I + L)^{-1} U^T`, shape ``(..., R, D)``."""
        return torch.linalg.solve_triangular(self._eye + self.lower, self.scaled.mT, upper=False)

    @full_precision
    def projection(self) -> Tensor:
        r"""Returns :math:`\beta = F^T \Sigma^{-1}`, shape ``(..., R, D)``: of the factors'
        posterior means.
        """
        inverse = self.posterior()
        return inverse @ self.scaled.mT * self._variances.rsqrt().unsqueeze(-2)

    @full_precision
    def posterior(self) -> Tensor:
        r"""Returns :math:`(I + U^T U)^{-1}`, shape ``(..., R, R)``: the factors' posterior
        covariance.
        """
        root = torch.linalg.solve_triangular(self.lower, self._eye, upper=False)
        return root.mT @ root

    @full_precision
    def given(self, factor: Tensor) -> Tensor:
        r"""Returns :math:`F_a L^{-T}`: factors of other dimensions, given all of these."""
        return torch.linalg.solve_triangular(self.lower.mT, factor, upper=True, left=False)


@full_precision
def principal_factor(parts: Tensor, total: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Approximates ``parts @ parts.mT``, but for its diagonal, by a factor of fewer columns.

    Args:
        parts: shape ``(..., D, n)``.
        total: variances, ``(..., D)``, at least those of the parts.
        rank: the number of columns.

    Returns:
        The factor, ``(..., D, rank)``, and what it leaves of the variances.
    """
    scale = total.sqrt().unsqueeze(-1)
    left, sizes, _ = torch.linalg.svd(parts / scale, full_matrices=False)
    factor = scale * left[..., :rank] * sizes[..., None, :rank]
    return factor, total - factor.square().sum(-1)
