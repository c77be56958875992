"""Gradients of a mixture's draws with respect to its parameters."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..precision import full_precision
from .covariance.matrices import apply_matrices

__all__ = ["reparameterize_rows"]


def reparameterize_rows(
    value: Tensor, log_weights: Tensor, means: Tensor, matrices: Tensor
) -> Tensor:
    r"""Returns draws, made differentiable with respect to the mixture's parameters.

    Each parameter :math:`\theta` moves them with a velocity that carries the density along,
    :math:`\partial_\theta p + \nabla \cdot (p v) = 0`. Means and covariances move them as they move
    their own components' draws, in proportion to the responsibilities,

    .. math:: \mathrm{d}x = \sum_k r_k(x) \left[\mathrm{d}\mu_k
        + \tfrac12 \mathrm{d}\Sigma_k \Sigma_k^{-1} (x - \mu_k)\right],

    and weights so that :math:`F(x_d \mid x_1, \dots, x_{d-1})` stays what it is for all :math:`d`.

    Args:
        value: draws, shape ``sample_shape + batch_shape + (D,)``.
        log_weights: shape ``batch_shape + (K,)``.
        means: shape ``batch_shape + (K, D)``.
        matrices: the covariances, which broadcast to ``batch_shape + (K, D, D)``.
    """
    draws = value.reshape(-1, *means.shape[:-2], means.shape[-1])
    matrices = matrices.expand(*means.shape, means.shape[-1])
    return _Pathwise.apply(draws, log_weights, means, matrices).reshape(value.shape)


class _Pathwise(torch.autograd.Function):
    """The identity on draws ``(S, *batch, D)``, whose backward can be differentiated again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value, log_weights, means, matrices):
        return value.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output, *inputs[1:])

    @staticmethod
    @full_precision
    def backward(ctx, grad):
        value, log_weights, means, matrices = ctx.saved_tensors
        eye = torch.eye(value.shape[-1], dtype=value.dtype, device=value.device)
        factor = torch.linalg.cholesky(matrices)
        inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
        z = apply_matrices(inverse, value.unsqueeze(-2) - means)
        log_density = inverse.diagonal(dim1=-2, dim2=-1).log() - 0.5 * z.square()
        responsibilities = (log_weights + log_density.sum(-1)).softmax(-1)
        moved = responsibilities.unsqueeze(-1) * grad.unsqueeze(-2)
        slope = 0.5 * torch.einsum("s...i,s...j->...ij", moved, apply_matrices(inverse.mT, z))
        grad_log_weights = None
        if ctx.needs_input_grad[1]:
            before = pad(log_density[..., :-1], (1, 0)).cumsum(-1)  # of the dimensions before
            share = (log_weights.unsqueeze(-1) + before).softmax(-2)
            grad_log_weights = _grad_log_weights(grad, share, z, inverse)
        return None, grad_log_weights, moved.sum(0), 0.5 * (slope + slope.mT)


def _grad_log_weights(grad: Tensor, share: Tensor, z: Tensor, inverse: Tensor) -> Tensor:
    r"""The gradient by which all conditional CDFs stay what they are.

    With shares :math:`r_{kd}` given the dimensions before, these are
    :math:`F_d = \sum_k r_{kd} \Phi(z_{kd})`, and
    :math:`\mathrm{d}x = -(\partial F / \partial x)^{-1} (\partial F / \partial \log w)
    \mathrm{d} \log w`, where the first matrix is triangular.

    Args:
        grad: with respect to the draws, shape ``(S, *batch, D)``.
        share: :math:`r`, shape ``(S, *batch, K, D)``.
        z: the draws whitened, in the same shape.
        inverse: the inverse Cholesky factors, shape ``(*batch, K, D, D)``.
    """
    lower, upper = (0.5 * torch.erfc(sign * math.sqrt(0.5) * z) for sign in (-1, 1))
    is_upper = (share * lower).sum(-2, keepdim=True) > 0.5
    cdf = torch.where(is_upper, -upper, lower)  # but for a constant, and small in both tails
    by_log_weight = share * (cdf - (share * cdf).sum(-2, keepdim=True))
    density = share * torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    by_z = density.diag_embed() - (by_log_weight.unsqueeze(-1) * z.unsqueeze(-2)).tril(-1)
    by_value = torch.einsum("s...kij,...kjl->s...il", by_z, inverse)
    solution = torch.linalg.solve_triangular(by_value.mT, grad.unsqueeze(-1), upper=True)
    solution = solution.squeeze(-1)
    return -(by_log_weight * solution.unsqueeze(-2)).sum((0, -1))
