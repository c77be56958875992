"""Products of univariate mixtures at rows: their log densities, and probabilities of boxes."""

import torch
from torch import Tensor

from ..tracking import is_tracked, known_to_hold
from .inverse_cdf import normal_cdf
from .univariate import UnivariateGaussianMixture

__all__ = ["box_probability", "nodes_at_rows", "product_log_density", "rows_at_once"]

_ENTRIES_AT_ONCE = {"cpu": 1 << 16}
_OTHER_ENTRIES = 1 << 24
_REACH = 40.0  # beyond so many standard deviations a CDF is zero or one


def rows_at_once(nodes: UnivariateGaussianMixture) -> int:
    """How many rows a block should have, so that what is computed of it stays in the cache."""
    entries = _ENTRIES_AT_ONCE.get(nodes.loc.device.type, _OTHER_ENTRIES)
    return max(16, min(8192, entries // nodes.loc.numel()))


def nodes_at_rows(nodes: UnivariateGaussianMixture, x: Tensor, takes_nan: bool) -> Tensor:
    """The nodes' log densities at rows ``(..., D)``, shape ``(..., C, D)``; zero where an entry is
    missing.
    """
    x = x.unsqueeze(-2)
    if not takes_nan or known_to_hold(~x.isnan()):
        return nodes.log_prob(x)
    is_missing = x.isnan()
    return nodes.log_prob(torch.where(is_missing, 0, x)).masked_fill(is_missing, 0)


def product_log_density(nodes: UnivariateGaussianMixture, x: Tensor, takes_nan: bool) -> Tensor:
    """The components' log densities at rows ``(..., D)``, shape ``(..., C)``.

    Without gradients and a batch, rows are evaluated block by block.
    """
    tensors = x, nodes.loc, nodes.scale, nodes.logits
    differentiates = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    size, is_batch = rows_at_once(nodes), len(nodes.batch_shape) > 2
    if differentiates or is_batch or x.shape[:-1].numel() <= size or is_tracked(*tensors):
        return nodes_at_rows(nodes, x, takes_nan).sum(-1)
    blocks = x.reshape(-1, x.shape[-1]).split(size)
    parts = [nodes_at_rows(nodes, block, takes_nan).sum(-1) for block in blocks]
    return torch.cat(parts).view(*x.shape[:-1], -1)


def box_probability(nodes: UnivariateGaussianMixture, low: Tensor, high: Tensor) -> Tensor:
    """The components' probabilities of boxes ``(..., D)``, shape ``(..., C)``.

    A difference of CDFs is taken in the tail where these are small.
    """
    loc, scale = nodes.loc, nodes.scale
    z_low, z_high = (_standardized(edge[..., None, :, None], loc, scale) for edge in (low, high))
    is_above = z_low > 0
    z_low, z_high = torch.where(is_above, -z_high, z_low), torch.where(is_above, -z_low, z_high)
    of_gaussians = normal_cdf(z_high) - normal_cdf(z_low)
    return (nodes.probs * of_gaussians).sum(-1).prod(-1)


def _standardized(edge: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """In standard deviations; an infinite edge is put where its gradients are zero."""
    reach = _REACH * scale
    return (torch.minimum(torch.maximum(edge, loc - reach), loc + reach) - loc) / scale
