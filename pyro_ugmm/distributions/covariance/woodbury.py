r"""The algebra of :math:`\Sigma = F F^T + V` with diagonal :math:`V`, in the rank of :math:`F`.

With :math:`U = V^{-1/2} F` and :math:`I + U^T U = L L^T`, roots of :math:`\Sigma` and of
its inverse are

.. math:: V^{1/2} \left[I + U (I + L)^{-1} U^T\right], \qquad
    \left[I - U (I + L^T)^{-1} L^{-1} U^T\right] V^{-1/2}.
"""

import torch
from torch import Tensor

from ...precision import full_precision
from ..factorization import factorize
from .indexing import map_by_index
from .matrices import apply_matrices

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

    def _whitening(self) -> Tensor:
        r""":math:`(I + L^T)^{-1} L^{-1} U^T`, shape ``(..., R, D)``."""
        inner = torch.linalg.solve_triangular(self.lower, self.scaled.mT, upper=False)
        return torch.linalg.solve_triangular(self._eye + self.lower.mT, inner, upper=True)

    @full_precision
    def whiten(self, deviations: Tensor) -> Tensor:
        """Multiplies deviations ``(..., D)`` by a root of the inverse."""
        z = deviations * self._variances.rsqrt()
        return z - apply_matrices(self.scaled, apply_matrices(self._whitening(), z))

    @full_precision
    def whitener(self) -> Tensor:
        """Returns what whitens: scales, :math:`U`, and what that is multiplied by; ``(..., D, 1 + 2
        R)``.
        """
        scale = self._variances.rsqrt().unsqueeze(-1)
        return torch.cat([scale, self.scaled, self._whitening().mT * scale], -1)

    @full_precision
    def color(self, noise: Tensor, index: Tensor) -> Tensor:
        """Multiplies white noise ``(n, D)`` by the roots at ``index`` into the flattened batch."""
        inner = torch.linalg.solve_triangular(self._eye + self.lower, self.scaled.mT, upper=False)
        inner, scaled = inner.flatten(0, -3), self.scaled.flatten(0, -3)
        scale = self._variances.sqrt().flatten(0, -2)

        def colored(rows: Tensor, i: int) -> Tensor:
            return scale[i] * (rows + (rows @ inner[i].mT) @ scaled[i].mT)

        return map_by_index(colored, noise, index, len(scale))

    @full_precision
    def projection(self) -> Tensor:
        r"""Returns :math:`\beta = F^T \Sigma^{-1}`, shape ``(..., R, D)``, by which deviations
        become the factors' posterior means.
        """
        return self._posterior() @ self.scaled.mT * self._variances.rsqrt().unsqueeze(-2)

    def _posterior(self) -> Tensor:
        r""":math:`(I + U^T U)^{-1}`, the factors' posterior covariance, shape ``(..., R, R)``."""
        root = torch.linalg.solve_triangular(self.lower, self._eye, upper=False)
        return root.mT @ root

    @full_precision
    def given(self, factor: Tensor) -> Tensor:
        r"""Returns :math:`F_a L^{-T}`: factors of other dimensions, given all of these."""
        return torch.linalg.solve_triangular(self.lower.mT, factor, upper=True, left=False)

    @full_precision
    def maximized(self, with_z: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
        r"""Returns the factor and the variances after a step of EM.

        With averages :math:`C` of deviations times posterior means of the factors, and
        :math:`A = (I + U^T U)^{-1} + \beta C` of the factors' second moments, the step of
        Ghahramani and Hinton (1996) is :math:`F = C A^{-1}`, with which
        :math:`v = \mathrm{diag}(S - F C^T)`. Where the factors may have any covariance, that is
        :math:`A`, and its root goes to the factor: :math:`F = C A^{-1/2}` needs fewer steps (Liu,
        Rubin and Wu 1998, *Parameter expansion to accelerate EM*).

        Args:
            with_z: :math:`C`, shape ``(..., D, R)``.
            squares: of the deviations, :math:`\mathrm{diag}(S)`, shape ``(..., D)``.
        """
        lower = factorize(self._posterior() + self.projection() @ with_z)[1]
        factor = torch.linalg.solve_triangular(lower.mT, with_z, upper=True, left=False)
        rest = squares - factor.square().sum(-1)
        least = torch.finfo(rest.dtype).eps ** (2 / 3) * squares  # below, whitening loses digits
        return factor, torch.maximum(rest, least)


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
    scale = total.clamp(min=torch.finfo(total.dtype).tiny).sqrt().unsqueeze(-1)
    left, sizes, _ = torch.linalg.svd(parts / scale, full_matrices=False)
    factor = scale * left[..., :rank] * sizes[..., None, :rank]
    return factor, total - factor.square().sum(-1)
