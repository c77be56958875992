"""Cholesky factors of matrices that may be singular but for rounding."""

import torch
from torch import Tensor

from ..tracking import is_recorded, known_to_hold

__all__ = ["factorize"]


def factorize(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Factors matrices, raising the diagonals of those that are singular but for rounding.

    Returns the matrices, made symmetric, their Cholesky factors, and which were raised. What is
    added is relative to each diagonal entry, and ten times what the factorization needs to
    succeed; no other matrix changes. So each of them can be factored again, whatever the order in
    which a processor adds. One that cannot be factored even so is replaced by its diagonal, made
    positive. In a graph that is recorded nothing is raised.
    """
    matrices = 0.5 * (matrices + matrices.mT)
    factors, info = torch.linalg.cholesky_ex(matrices)
    diagonal, eps = matrices.diagonal(dim1=-2, dim2=-1), torch.finfo(matrices.dtype).eps
    pivots = factors.diagonal(dim1=-2, dim2=-1).square()
    is_raised = (info > 0) | ~(pivots > eps**0.5 * diagonal).all(-1)
    if is_recorded() or known_to_hold(~is_raised):
        return matrices, factors, is_raised
    share = (matrices.shape[-1] + 1) * eps
    is_raised = (info > 0) | ~(_least_share(factors, diagonal) > 2 * share)
    if known_to_hold(~is_raised):
        return matrices, factors, is_raised
    matrices, factors, failing = matrices.clone(), factors.clone(), is_raised
    while failing.any() and share < 1:
        share *= 10
        enough = torch.linalg.cholesky_ex(_with_larger_diagonal(matrices[failing], share)).info == 0
        at = failing.clone().masked_scatter_(failing, enough)
        matrices[at] = _with_larger_diagonal(matrices[at], 10 * share)
        factors[at] = torch.linalg.cholesky_ex(matrices[at]).L
        failing = failing & ~at
    if failing.any():
        kept = _positive_diagonal(matrices[failing])
        matrices[failing], factors[failing] = kept.diag_embed(), kept.sqrt().diag_embed()
    return matrices, factors, is_raised


def _least_share(factors: Tensor, diagonal: Tensor) -> Tensor:
    """Bounds the least eigenvalue of matrices whose diagonals are scaled to ones, from below."""
    eye = torch.eye(factors.shape[-1], dtype=factors.dtype, device=factors.device)
    inverse = torch.linalg.solve_triangular(factors, eye, upper=False)
    return 1 / (inverse.square().sum(-2) * diagonal).sum(-1)


def _with_larger_diagonal(matrices: Tensor, share: float) -> Tensor:
    return matrices + (share * _positive_diagonal(matrices)).diag_embed()


def _positive_diagonal(matrices: Tensor) -> Tensor:
    least = torch.finfo(matrices.dtype).tiny ** 0.5
    return matrices.diagonal(dim1=-2, dim2=-1).clamp(min=least)
