"""How many modes univariate mixtures have."""

import torch
from torch import Tensor

from ..checks import check, check_number
from ..precision import full_precision
from .univariate import UnivariateGaussianMixture

__all__ = ["count_modes"]

_OFFSETS = (-8, -5, -4, -3, -2.5, -2, -1.5, -1, -0.75, -0.5, -0.25, 0)
_EVEN = 400
_MOST_VALUES = 1 << 22


@full_precision
def count_modes(mixtures: UnivariateGaussianMixture, prominence: float = 0.05) -> Tensor:
    """Counts the bumps of univariate mixtures, such as a layer's neurons.

    A bump rises above the valleys at its sides by a share of the highest density. It is found on
    values that are dense where components are: a mixture of Gaussians has no mode beyond its
    outermost means.

    Args:
        mixtures: of any batch shape.
        prominence: the share, between zero and one.

    Returns:
        Counts of at least one, ``int64``, of the batch shape.

    Raises:
        ValueError: if they are no such mixtures, or the share is none.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import UnivariateGaussianMixture, count_modes
        >>> loc = torch.tensor([[-3.0, 3.0], [-0.5, 0.5]])
        >>> count_modes(UnivariateGaussianMixture(loc, torch.ones(2, 2), logits=torch.zeros(2, 2)))
        tensor([2, 1])
    """
    is_one = isinstance(mixtures, UnivariateGaussianMixture)
    got = type(mixtures).__name__
    check(is_one, "mixtures", "a UnivariateGaussianMixture, such as layer.nodes", got)
    share = check_number(
        "prominence", prominence, lambda p: 0 < p < 1, "a number between zero and one"
    )
    with torch.no_grad():
        shape, k = mixtures.batch_shape, mixtures.n_components
        parts = [t.expand(*shape, k).reshape(-1, k) for t in _parameters(mixtures)]
        size = max(1, _MOST_VALUES // (k * (_EVEN + k * (2 * len(_OFFSETS) - 1))))
        pieces = zip(*(part.split(size) for part in parts), strict=True)
        counts = [_count(loc, scale, logits, share) for loc, scale, logits in pieces]
    return torch.cat(counts).reshape(shape)


def _parameters(mixtures: UnivariateGaussianMixture) -> tuple[Tensor, Tensor, Tensor]:
    return mixtures.loc, mixtures.scale, mixtures.logits


def _count(loc: Tensor, scale: Tensor, logits: Tensor, share: float) -> Tensor:
    """Counts the modes of mixtures ``(J, K)``, one value after the other along all of them."""
    values = _values(loc, scale)
    parts = UnivariateGaussianMixture(loc, scale, logits=logits, validate_args=False)
    heights = parts.log_prob(values)
    heights = (heights - heights.max(0).values).exp()
    least, most = heights[0], heights[0]  # since the last peak, and since the last valley
    rises = torch.ones_like(least, dtype=torch.bool)
    counts = torch.zeros_like(least, dtype=torch.long)
    for height in heights:
        least, most = torch.minimum(least, height), torch.maximum(most, height)
        peaked, turned = rises & (height < most - share), ~rises & (height > least + share)
        counts += peaked
        least, most = torch.where(peaked, height, least), torch.where(turned, height, most)
        rises = (rises & ~peaked) | turned
    return counts + rises  # one whose density does not fall by so much is a bump still


def _values(loc: Tensor, scale: Tensor) -> Tensor:
    """Values in order over each mixture, dense at each component, ``(G, J)``."""
    one_side = torch.tensor(_OFFSETS, dtype=loc.dtype, device=loc.device)
    offsets = torch.cat([one_side, -one_side[:-1].flip(0)])
    around = (loc.unsqueeze(-1) + scale.unsqueeze(-1) * offsets).flatten(1)
    steps = torch.linspace(0, 1, _EVEN, dtype=loc.dtype, device=loc.device)
    low, high = around.min(1, keepdim=True).values, around.max(1, keepdim=True).values
    return torch.cat([around, low + (high - low) * steps], 1).sort(1).values.T
