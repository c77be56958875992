"""Where EM for mixtures over products of mixture neurons starts."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ...checks import check_integer, check_seed
from ...distributions import UGMMMixture, UnivariateGaussianMixture
from ...missing_values import mixture_rule
from ...processes import together
from ..algorithm import EMAlgorithm
from ..kmeans import kmeans
from ..row_sample import MOST_ROWS, sample_rows
from ..rows import Rows
from ..untracked import untracked

__all__ = ["initialize_ugmm"]

_ENTRIES_AT_ONCE = 1 << 22
_MOST_ITERATIONS = 20
_LEAST_SHARE = 1e-3  # of a dimension's variance


@untracked
def initialize_ugmm(
    x: Any,
    n_components: int,
    n_node_components: int = 2,
    *,
    sample_weight: Any = None,
    n_init: int = 1,
    seed: int | None = None,
    reg_covar: float = 1e-6,
    missing: str = "error",
) -> UGMMMixture:
    """Returns a mixture from which :class:`UGMMFitter` can start.

    The rows are clustered by k-means, each dimension divided by its standard deviation first. Each
    cluster becomes a component, and in every dimension its values are clustered by k-means, from
    their quantiles, which gives the Gaussians of the node. Variances are at least a thousandth of
    their dimension's. At most 50,000 rows are clustered, drawn at random, and NaN entries, where
    these are allowed, count as their dimension's mean.

    Args:
        x: rows ``(n, D)``, or an iterable of blocks; as for :meth:`EMFitter.fit`.
        n_components: the number of products :math:`C`.
        n_node_components: the number of Gaussians of each node, :math:`M`.
        sample_weight: non-negative weights of the rows, shape ``(n,)``.
        n_init: how many starts to return, as a batch of shape ``(n_init,)`` if more than one.
        seed: for the random choices; by default, torch's global generator.
        reg_covar: what is added to all variances, in squared units of the data.
        missing: what NaN means, in ``x`` and to the mixture: ``"error"`` or ``"marginalize"``.

    Raises:
        ValueError: if an argument is out of its range, rows are not finite, or nothing was observed
            of a feature.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import initialize_ugmm
        >>> initialize_ugmm(torch.randn(100, 2), n_components=3)
        UGMMMixture(batch_shape=(), n_components=3, n_features=2, n_node_components=2)
    """
    count = check_integer("n_components", n_components)
    n_gaussians = check_integer("n_node_components", n_node_components)
    n_init, seed = check_integer("n_init", n_init), check_seed("seed", seed)
    reg_covar = EMAlgorithm(reg_covar=reg_covar).reg_covar
    mixture_rule(missing)
    with together(False):
        rows = Rows(x, None, sample_weight, missing, observed=True)
        rows.normalize_weights()
        x, weight, _, generator = sample_rows(rows, MOST_ROWS, seed)
    weight = (weight / weight.mean()).to(x)
    x = _filled(x, weight)
    share = weight / weight.sum()
    center = share @ x
    variance = share @ (x - center).square()
    scale = torch.where(variance > 0, variance.sqrt(), 1)
    starts = []
    for labels in kmeans((x - center) / scale, weight, count, generator, n_init):
        mass = one_hot(labels, count).to(share).T @ share
        among = [labels == c for c in range(count)]
        nodes = [_node_parameters(x[at], weight[at], n_gaussians, center, variance) for at in among]
        starts.append((mass / mass.sum(), *map(torch.stack, zip(*nodes, strict=True))))
    weights, probs, loc, spread = (
        torch.stack(part) if n_init > 1 else part[0] for part in zip(*starts, strict=True)
    )
    nodes = UnivariateGaussianMixture(loc, (spread + reg_covar).sqrt(), probs=probs)
    return UGMMMixture(weights, nodes, missing=missing)


def _filled(x: Tensor, weight: Tensor) -> Tensor:
    """Rows with their dimensions' means for what is missing."""
    is_missing = x.isnan()
    counts = torch.where(is_missing, 0, weight.unsqueeze(-1))
    mean = (counts * x.nan_to_num()).sum(0) / counts.sum(0)
    return torch.where(is_missing, mean, x)


def _node_parameters(
    x: Tensor, weight: Tensor, count: int, center: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The shares, means and variances of groups of one cluster's values, each ``(D, M)``; of a
    cluster without rows, those of all rows.
    """
    if not weight.sum() > 0:
        shares = x.new_full((x.shape[1], count), 1 / count)
        means, squares = (part.unsqueeze(-1).expand_as(shares) for part in (center, variance))
        return shares, means, squares
    columns = max(1, _ENTRIES_AT_ONCE // (len(x) * count))
    parts = [
        _grouped(*some, weight, count)
        for some in zip(x.split(columns, 1), center.split(columns), strict=True)
    ]
    shares, means, squares = (torch.cat(part) for part in zip(*parts, strict=True))
    return shares, means, torch.maximum(squares, _LEAST_SHARE * variance.unsqueeze(-1))


def _grouped(
    x: Tensor, center: Tensor, weight: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The shares, means and variances of groups of each column's values; the mean of a group
    without rows is ``center``.
    """
    counts = one_hot(_split(x, count), count).to(x) * weight[:, None, None]  # (n, D, M)
    mass = counts.sum(0)
    safe = mass.clamp(min=torch.finfo(x.dtype).tiny)
    means = torch.where(mass > 0, (counts * x.unsqueeze(-1)).sum(0) / safe, center.unsqueeze(-1))
    squares = (counts * (x.unsqueeze(-1) - means).square()).sum(0) / safe
    return mass / mass.sum(-1, keepdim=True), means, squares


def _split(x: Tensor, count: int) -> Tensor:
    """Clusters the values of each column by k-means from their quantiles; returns labels
    ``(n, D)``. A center that loses its values takes the one that is farthest from its own.
    """
    quantiles = torch.arange(0.5, count, dtype=x.dtype, device=x.device) / count
    at = (quantiles * len(x)).long()
    centers = x.sort(0).values[at].T.contiguous()  # (D, M)
    labels = torch.zeros_like(x, dtype=torch.long)
    for _ in range(_MOST_ITERATIONS if count > 1 else 0):
        distances, before = (x.unsqueeze(-1) - centers).abs(), labels
        nearest = distances.min(-1)
        labels = nearest.indices
        counts = one_hot(labels, count).to(x)
        mass = counts.sum(0)
        centers = (counts * x.unsqueeze(-1)).sum(0) / mass.clamp(min=1)
        farthest = x.gather(0, nearest.values.argmax(0, keepdim=True)).T
        is_first = (mass == 0) & ((mass == 0).cumsum(-1) == 1)
        centers = torch.where(is_first, farthest, centers)
        if torch.equal(labels, before) and not is_first.any():
            break
    return labels
