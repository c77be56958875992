r"""A batch of mixtures at rows that all of them share, by one matrix product.

A batch of :math:`S` mixtures of :math:`K` components is one of :math:`SK` in its natural form,
:class:`~pyro_ugmm.distributions.blocks.NaturalForm`: rows are turned to their sufficient statistics
once, and a product with the components' natural parameters evaluates all of them, forward and
backward. It is in double precision, whatever that of the result, so that it may cancel more.
"""

import math

import torch
from torch import Tensor

from ..tracking import is_tracked, known_to_hold
from .components import Components
from .steep import steep_logsumexp

__all__ = ["log_prob_of_shared_rows"]

# How large a term may be, so that its rounding error in double precision is below the result's.
_MOST_CANCELING = {torch.float32: 1e8, torch.float64: 1e4}


def log_prob_of_shared_rows(x: Tensor, components: Components) -> Tensor | None:
    """Evaluates rows ``(n, D)`` under mixtures of a batch ``(..., 1)``, shape ``(..., n)``.

    Returns None where this form does not serve: for other shapes, where rows carry gradients, where
    all components share a covariance, and where rounding or the range would be felt.
    """
    batch = components.batch_shape
    tensors = x, *components.tensors().values()
    serves = x.dim() == 2 and len(batch) > 0 and batch[-1] == 1 and len(x) > 0
    serves = serves and x.device.type == "cpu" and x.dtype in _MOST_CANCELING
    serves = serves and not (components.covariance.is_shared or x.requires_grad)
    if not serves or is_tracked(*tensors):
        return None
    flat = components.expand(batch).reindex(
        lambda t: t.double().reshape(batch.numel(), *t.shape[len(batch) :])
    )
    log_joint = _log_joint(x, flat)
    if log_joint is None:
        return None
    result = steep_logsumexp(log_joint, 1)
    if not known_to_hold(result > -math.inf):
        return None
    return result.reshape(*batch[:-1], len(x))


def _log_joint(x: Tensor, flat: Components) -> Tensor | None:
    """The joint log densities of a batch ``(S,)``, shape ``(S, K, n)``, in the rows' dtype."""
    covariance, (n_rows, n_features) = flat.covariance.joined(), x.shape
    rows = x.double()
    center = rows.mean(0)
    deviations = flat.means.flatten(0, 1) - center
    with torch.no_grad():
        canceling = covariance.canceling(deviations)
    if not known_to_hold(canceling < _MOST_CANCELING[x.dtype]):
        return None
    linear, quadratic = covariance.natural(deviations)
    constant = covariance.log_determinant(n_features) + n_features * math.log(2 * math.pi)
    offset = flat.log_weights.flatten() - 0.5 * (constant + (linear * deviations).sum(-1))
    parameters = torch.cat([offset.unsqueeze(-1), linear, quadratic], -1)
    statistics = _statistics((rows - center).T.contiguous(), covariance.moments)
    return (parameters @ statistics).to(x.dtype).reshape(*flat.weights.shape, n_rows)


def _statistics(y: Tensor, moments) -> Tensor:
    """One, the entries, and their products, of rows ``(D, n)``."""
    products = y.new_empty(moments.n_rows(len(y)), y.shape[1])
    moments.write_products(y, products)
    n_products = moments.n_products(len(y))
    return torch.cat([torch.ones_like(y[:1]), y, products[:n_products]])
