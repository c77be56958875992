r"""A batch of mixtures at rows that all of them share, by one matrix product.

A batch of :math:`S` mixtures of :math:`K` components is one of :math:`SK` in its natural form,
:class:`~pyro_ugmm.distributions.blocks.NaturalForm`: rows are turned to their sufficient statistics
once, and a product with the components' natural parameters evaluates all of them, forward and
backward. It is in double precision, whatever that of the result, so that it may cancel more.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..tracking import is_tracked, known_to_hold
from .components import Components
from .steep import steep_logsumexp

__all__ = ["log_prob_of_shared_rows"]

# How large a term may be, so that its rounding error in double precision is below the result's.
_MOST_CANCELING = {torch.float32: 1e8, torch.float64: 1e4}
_LEAST_EXACT = 0.5  # the share of mixtures from which on it pays to part them


def log_prob_of_shared_rows(
    x: Tensor, components: Components, otherwise: Callable[[Tensor, Components], Tensor]
) -> Tensor | None:
    """Evaluates rows ``(n, D)`` under mixtures of a batch ``(..., 1)``, shape ``(..., n)``.

    Those whose rounding would be felt are evaluated by ``otherwise``, as long as they are few: of
    draws from a prior, some are narrow and far from all rows. Returns None where this form does not
    serve: for other shapes, where rows carry gradients, where all components share a covariance,
    and where the range would be felt.
    """
    batch = components.batch_shape
    tensors = x, *components.tensors().values()
    serves = x.dim() == 2 and len(batch) > 0 and batch[-1] == 1 and len(x) > 0
    serves = serves and x.device.type == "cpu" and x.dtype in _MOST_CANCELING
    serves = serves and not (components.covariance.is_shared or x.requires_grad)
    if not serves or is_tracked(*tensors):
        return None
    one_batch = components.expand(batch).reindex(
        lambda t: t.reshape(batch.numel(), *t.shape[len(batch) :])
    )
    wide, rows = one_batch.reindex(Tensor.double), x.double()
    center = rows.mean(0)
    is_exact = _cancels_little(wide, center, _MOST_CANCELING[x.dtype])
    if known_to_hold(is_exact):
        result = _log_prob(rows, wide, center, x.dtype)
    elif is_exact.double().mean() < _LEAST_EXACT:
        return None
    else:
        exact, others = is_exact.nonzero()[:, 0], (~is_exact).nonzero()[:, 0]
        parts = [
            _log_prob(rows, wide.reindex(lambda t: t[exact]), center, x.dtype),
            otherwise(x, one_batch.reindex(lambda t: t[others].unsqueeze(1))),
        ]
        result = torch.cat(parts)[torch.cat([exact, others]).argsort()]
    if not known_to_hold(result > -math.inf):
        return None
    return result.reshape(*batch[:-1], len(x))


def _cancels_little(flat: Components, center: Tensor, most: float) -> Tensor:
    """Of which mixtures of a batch no term is too large, shape ``(S,)``."""
    with torch.no_grad():
        canceling = flat.covariance.joined().canceling(flat.means.flatten(0, 1) - center)
    return (canceling < most).reshape(flat.weights.shape).all(-1)


def _log_prob(rows: Tensor, flat: Components, center: Tensor, dtype: torch.dtype) -> Tensor:
    """Evaluates a batch ``(S,)``, whose joint log densities are rounded to a dtype; ``(S, n)``."""
    covariance, (n_rows, n_features) = flat.covariance.joined(), rows.shape
    deviations = flat.means.flatten(0, 1) - center
    linear, quadratic = covariance.natural(deviations)
    constant = covariance.log_determinant(n_features) + n_features * math.log(2 * math.pi)
    offset = flat.log_weights.flatten() - 0.5 * (constant + (linear * deviations).sum(-1))
    parameters = torch.cat([offset.unsqueeze(-1), linear, quadratic], -1)
    statistics = _statistics((rows - center).T.contiguous(), covariance.moments)
    log_joint = (parameters @ statistics).to(dtype).reshape(*flat.weights.shape, n_rows)
    return steep_logsumexp(log_joint, 1)


def _statistics(y: Tensor, moments) -> Tensor:
    """One, the entries, and their products, of rows ``(D, n)``."""
    products = y.new_empty(moments.n_rows(len(y)), y.shape[1])
    moments.write_products(y, products)
    n_products = moments.n_products(len(y))
    return torch.cat([torch.ones_like(y[:1]), y, products[:n_products]])
