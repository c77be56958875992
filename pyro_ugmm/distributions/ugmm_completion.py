"""The most probable values of what is missing of rows."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_choice
from ..precision import full_precision
from .imputation import rows_to_fill
from .ugmm_evaluation import nodes_at_rows, rows_at_once
from .ugmm_mixture import UGMMMixture
from .ugmm_parameters import mapped_nodes
from .univariate import UnivariateGaussianMixture

__all__ = ["most_probable_completion"]

_MOST_STEPS = 1000


@torch.no_grad()
@full_precision
def most_probable_completion(mixture: UGMMMixture, x: Any, *, components: str = "maximized") -> Any:
    r"""Fills NaN in rows with the most probable values, given what was observed.

    With ``"maximized"``, exactly, these are the values at the maximum over the row's component and,
    of each missing dimension, over its Gaussian, too:

    .. math:: \max_{c, \, x_{\mathrm{missing}}, \, m} \; \pi_c
        \prod_{d \, \mathrm{observed}} p_{cd}(x_d) \prod_{d \, \mathrm{missing}}
        w_{cdm_d} \, \mathcal{N}(x_d \mid \mu_{cdm_d}, \sigma_{cdm_d}^2)

    which is at the means of one component's Gaussians. With ``"summed"`` they are at a local
    maximum of the density :math:`p(x_{\mathrm{missing}} \mid x_{\mathrm{observed}})` itself,
    which has no closed form: the best of :math:`C` ascents, one from the values that are best for
    each component. It is an estimate, never worse by this density than the former.

    Args:
        mixture: one mixture.
        x: rows, shape ``(n, D)``: a tensor, an array, or a data frame; NaN, null or masked where
            nothing was observed.
        components: what becomes of them: ``"maximized"`` or ``"summed"``.

    Returns:
        Rows without NaN, shape ``(n, D)``; for a data frame, one with its columns and index.

    Raises:
        ValueError: if the rows do not fit the mixture, or an entry is infinite.

    Source: Poon and Domingos (2011), arXiv:1202.3732, for the first; for the second, Carreira-
    Perpiñán (2000), *Mode-finding for mixtures of Gaussian distributions*.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import UGMMMixture, UnivariateGaussianMixture
        >>> from pyro_ugmm.distributions import most_probable_completion
        >>> loc = torch.tensor([[[-3.0, -1.0], [0.0, 4.0]], [[1.0, 3.0], [1.0, 2.0]]])
        >>> nodes = UnivariateGaussianMixture(loc, torch.ones(2, 2, 2), logits=torch.zeros(2, 2, 2))
        >>> m = UGMMMixture(torch.tensor([0.4, 0.6]), nodes)
        >>> x = torch.tensor([[2.0, torch.nan]])
        >>> most_probable_completion(m, x)
        tensor([[2., 1.]])
        >>> most_probable_completion(m, x, components="summed").round(decimals=1)
        tensor([[2.0000, 1.5000]])
    """
    is_mixture = isinstance(mixture, UGMMMixture)
    check(is_mixture, "mixture", "a UGMMMixture", type(mixture).__name__)
    check_choice("components", components, _WAYS)
    mixture, table = rows_to_fill(mixture, x)
    way, nodes = _WAYS[components], mapped_nodes(mixture.nodes, lambda t: t)
    blocks = table.values.split(1 + rows_at_once(nodes) // mixture.n_components)
    return table.restored(torch.cat([way(mixture, nodes, block) for block in blocks]))


def _best_values(nodes: UnivariateGaussianMixture) -> tuple[Tensor, Tensor]:
    """The largest joint log density of a node and one of its Gaussians, and where it is, each
    ``(C, D)``.
    """
    height, at = (nodes.logits - nodes.scale.log() - 0.5 * math.log(2 * math.pi)).max(-1)
    return height, nodes.loc.gather(-1, at.unsqueeze(-1)).squeeze(-1)


def _maximized(mixture: UGMMMixture, nodes: UnivariateGaussianMixture, x: Tensor) -> Tensor:
    height, best = _best_values(nodes)
    is_missing = x.isnan()
    densities = torch.where(is_missing.unsqueeze(-2), height, nodes_at_rows(nodes, x, True))
    component = (mixture.log_weights + densities.sum(-1)).argmax(-1)
    return torch.where(is_missing, best[component], x)


def _summed(mixture: UGMMMixture, nodes: UnivariateGaussianMixture, x: Tensor) -> Tensor:
    is_missing = x.isnan().unsqueeze(-2)
    y = torch.where(is_missing, _best_values(nodes)[1], x.unsqueeze(-2))  # (n, C, D)
    resolution = torch.finfo(x.dtype).eps ** 0.5 * nodes.scale.amin((0, 2))
    for _ in range(_MOST_STEPS):
        before, y = y, torch.where(is_missing, _ascended(mixture, nodes, y), y)
        if ((y - before).abs() <= resolution).all():
            break
    densities = (mixture.log_weights + nodes_at_rows(nodes, y, False).sum(-1)).logsumexp(-1)
    best = densities.argmax(-1)[:, None, None].expand(-1, 1, x.shape[-1])
    return y.gather(1, best).squeeze(1)


def _ascended(mixture: UGMMMixture, nodes: UnivariateGaussianMixture, y: Tensor) -> Tensor:
    """Where the density is not lower: the mean of means, each by its share and precision."""
    densities = nodes_at_rows(nodes, y, False)
    share = (mixture.log_weights + densities.sum(-1)).softmax(-1)[..., None, None]
    share = share * nodes.responsibilities(y.unsqueeze(-2)) / nodes.scale.square()
    total = share.sum((-3, -1))
    return torch.where(total > 0, (share * nodes.loc).sum((-3, -1)) / total, y)


_WAYS: dict[str, Callable[[UGMMMixture, UnivariateGaussianMixture, Tensor], Tensor]] = {
    "maximized": _maximized,
    "summed": _summed,
}
