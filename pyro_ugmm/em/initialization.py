"""Where EM starts."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..checks import check, check_integer, check_number, check_values
from ..distributions import GaussianMixture
from ..distributions.covariance import STRUCTURES, Covariance
from ..distributions.multivariate import check_missing
from .kmeans import kmeans, nearest
from .maximization import maximize
from .rows import Rows, as_tensor
from .statistics import SufficientStatistics
from .untracked import untracked

__all__ = ["initialize"]

_MOST_ROWS = 50_000
_BLOCK_ENTRIES = 1 << 22


@untracked()
def initialize(
    x: Any,
    n_components: int,
    covariance: str = "full",
    *,
    method: str | None = None,
    labels: Any = None,
    responsibilities: Any = None,
    means: Any = None,
    sample_weight: Any = None,
    n_init: int = 1,
    seed: int | None = None,
    reg_covar: float = 1e-6,
    missing: str = "error",
) -> GaussianMixture:
    """Returns a mixture from which :class:`EMFitter` can start.

    By default, the rows are clustered by k-means, each feature divided by its standard deviation
    first, and each cluster becomes a component. A method clusters at most 50,000 rows, drawn at
    random. A component with too few rows for a covariance of its own starts with the average one.
    NaN entries, where these are allowed, count as their feature's mean.

    Args:
        x: rows ``(n, D)``, or an iterable of blocks; as for :meth:`EMFitter.fit`.
        n_components: how many.
        covariance: ``"full"``, ``"tied"``, ``"diagonal"`` or ``"spherical"``.
        method: ``"kmeans"``, or ``"random_from_data"``: means at rows drawn at random, with the
            covariance of all rows; by default ``"kmeans"``.
        labels: instead of a method, a component for each row, integers, shape ``(n,)``.
        responsibilities: likewise, the components' probabilities for each row, ``(n, K)``.
        means: likewise, where the means are, ``(K, D)``; a row counts for the nearest.
        sample_weight: non-negative weights of the rows, shape ``(n,)``.
        n_init: how many starts to return, as a batch of shape ``(n_init,)`` if more than one; by
            a method, as anything else gives but one.
        seed: for the random choices; by default, torch's global generator.
        reg_covar: what is added to all variances, in squared units of the data.
        missing: what NaN means, in ``x`` and to the mixture: ``"error"`` or ``"marginalize"``.

    Raises:
        ValueError: if an argument is out of its range or rows are not finite.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import initialize
        >>> initialize(torch.randn(100, 2), n_components=3, covariance="diagonal")
        GaussianMixture(batch_shape=(), n_components=3, n_features=2, covariance='diagonal')
    """
    check(n_components is not True, "n_components", "a positive integer", n_components)
    check_integer("n_components", n_components)
    check_integer("n_init", n_init)
    if seed is not None:
        check_integer("seed", seed, 0)
    expected = "a finite non-negative number"
    check_number("reg_covar", reg_covar, lambda v: 0 <= v < math.inf, expected)
    names = ", ".join(map(repr, STRUCTURES))
    check(covariance in STRUCTURES, "covariance", f"one of {names}", repr(covariance))
    names = ", ".join(map(repr, _METHODS))
    check(method is None or method in _METHODS, "method", f"one of {names}", repr(method))
    check_missing(missing)
    given = {
        "labels": labels,
        "responsibilities": responsibilities,
        "means": means,
        "method": method,
    }
    ways = [name for name, value in given.items() if value is not None]
    check(len(ways) <= 1, " and ".join(ways), "only one of them", f"{len(ways)}")
    is_random = method is not None or not ways
    check(is_random or n_init == 1, "n_init", f"1, as there is one start from {ways}", n_init)
    by_row = labels is not None or responsibilities is not None
    rows, weight, generator = _sample(
        Rows(x, None, sample_weight, missing), None if by_row else _MOST_ROWS, seed
    )
    weight = (weight / weight.mean()).to(rows)
    if missing == "marginalize":
        rows = torch.where(rows.isnan(), rows.nanmean(0).nan_to_num(), rows)
    center, scale = _center_and_scale(rows, weight)
    scaled = (rows - center) / scale
    if means is not None:
        means = _checked_means(means, n_components, rows)
    starts = []
    for _ in range(n_init):
        centers = means
        if labels is not None:
            shares = _checked_labels(labels, len(rows), n_components)
        elif responsibilities is not None:
            shares = _checked_responsibilities(responsibilities, len(rows), n_components)
        elif means is not None:
            shares = nearest(scaled, (means - center) / scale)[0]
        else:
            draw = _METHODS[method or "kmeans"]
            shares, centers = draw(rows, scaled, weight, n_components, generator)
        if shares.dim() == 1:
            shares = one_hot(shares.to(rows.device), n_components)
        shares = shares.to(rows) * weight.unsqueeze(-1)
        starts.append(_mixture(rows, shares, STRUCTURES[covariance], reg_covar, centers, missing))
    return starts[0] if n_init == 1 else _stack(starts)


def _center_and_scale(rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    share = weight / weight.sum()
    center = rows[0] + share @ (rows - rows[0])
    scale = (share @ (rows - center).square()).sqrt()
    rounding = 10 * torch.finfo(rows.dtype).eps * center.abs()
    return center, torch.where(scale > rounding, scale, 1)


def _by_kmeans(rows, scaled, weight, count, generator) -> tuple[Tensor, Tensor | None]:
    return kmeans(scaled, weight, count, generator), None


def _at_random(rows, scaled, weight, count, generator) -> tuple[Tensor, Tensor | None]:
    repeats = int((weight > 0).sum()) < count
    at = torch.multinomial(weight, count, replacement=repeats, generator=generator)
    return rows.new_full((len(rows), count), 1 / count), rows[at]


_METHODS: dict[str, Callable[..., tuple[Tensor, Tensor | None]]] = {
    "kmeans": _by_kmeans,
    "random_from_data": _at_random,
}


def _sample(
    rows: Rows, most: int | None, seed: int | None
) -> tuple[Tensor, Tensor, torch.Generator | None]:
    """Returns all rows, or as many drawn at random, their weights, and the generator used."""
    blocks, keys = [], []
    generator = None
    count = 0
    for x, weight in rows.blocks(1 << 16):
        if generator is None and seed is not None:
            generator = torch.Generator(x.device).manual_seed(int(seed))
        weight = (torch.ones_like(x[:, 0]) if weight is None else weight).double()
        blocks.append((x, weight))
        keys.append(torch.rand(len(x), device=x.device, generator=generator, dtype=torch.float32))
        count += len(x)
        if most is not None and count > most:
            x, weight = (torch.cat(parts) for parts in zip(*blocks, strict=True))
            key = torch.cat(keys)
            at = key.topk(most).indices.sort().values
            blocks, keys, count = [(x[at], weight[at])], [key[at]], most
    x, weight = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return x, weight, generator


def _checked_labels(labels: Any, n_rows: int, n_components: int) -> Tensor:
    labels = as_tensor("labels", labels)
    shape = tuple(labels.shape)
    check(shape == (n_rows,), "labels", f"shape ({n_rows},), as x has rows", shape)
    check(not labels.is_floating_point(), "labels", "integers", labels.dtype)
    valid = (labels >= 0) & (labels < n_components)
    check_values("labels", labels, valid, f"integers between 0 and {n_components - 1}")
    return labels.long()


def _checked_responsibilities(values: Any, n_rows: int, n_components: int) -> Tensor:
    values = as_tensor("responsibilities", values)
    shape, expected = tuple(values.shape), (n_rows, n_components)
    check(shape == expected, "responsibilities", f"shape {expected}", shape)
    check_values("responsibilities", values, values >= 0, "non-negative values")
    total = values.sum(1)
    check_values(
        "responsibilities", total, (total - 1).abs() < 1e-4, "rows that sum to one; as sums"
    )
    return values


def _checked_means(means: Any, n_components: int, rows: Tensor) -> Tensor:
    means = as_tensor("means", means).to(rows)
    shape, expected = tuple(means.shape), (n_components, rows.shape[1])
    check(shape == expected, "means", f"shape {expected}", shape)
    check_values("means", means, means.isfinite(), "finite values")
    return means


def _mixture(
    rows: Tensor,
    shares: Tensor,
    structure: type[Covariance],
    reg_covar: float,
    means: Tensor | None,
    missing: str,
) -> GaussianMixture:
    """Returns the mixture to which rows belong in ``shares``, ``(n, K)``."""
    statistics = _statistics(rows, shares, structure)
    mixture, _ = maximize(statistics, reg_covar, None, missing)
    covariance, weights = mixture.covariance, mixture.weights
    if structure.per_component:
        # Where a cluster has hardly more rows than dimensions, all it has is reg_covar.
        smallest = covariance.smallest_variance()
        pooled = torch.tensordot(weights, covariance.values, 1)
        typical = structure(pooled.unsqueeze(0), validate_args=False).smallest_variance()
        poor = smallest <= torch.maximum(1e-4 * typical, typical.new_tensor(2 * reg_covar))
        poor = poor.reshape(-1, *(1,) * (pooled.dim()))
        covariance, _ = structure.regularized(torch.where(poor, pooled, covariance.values), 0.0)
    means = mixture.means if means is None else means
    return GaussianMixture(weights, means, covariance, missing=missing)


def _statistics(rows: Tensor, shares: Tensor, structure: type[Covariance]) -> SufficientStatistics:
    mass = shares.sum(0)
    pivots = (shares.T @ rows) / mass.clamp(min=torch.finfo(rows.dtype).tiny ** 0.5).unsqueeze(-1)
    first = torch.zeros_like(pivots)
    second = structure.moments.outer(first, mass)
    size = max(1, _BLOCK_ENTRIES // pivots.numel())
    for x, share in zip(rows.split(size), shares.split(size), strict=True):
        deviations = x.T - pivots.unsqueeze(-1)
        weighted = deviations * share.T.unsqueeze(1)
        first = first + weighted.sum(-1)
        second = second + structure.moments.sum(weighted, deviations)
    zero = rows.new_zeros((), dtype=torch.float64)
    return SufficientStatistics(structure, pivots, mass, first, second, zero, mass.sum().double())


def _stack(mixtures: list[GaussianMixture]) -> GaussianMixture:
    first = mixtures[0]
    values = torch.stack([mixture.covariance.values for mixture in mixtures])
    return GaussianMixture(
        torch.stack([mixture.weights for mixture in mixtures]),
        torch.stack([mixture.means for mixture in mixtures]),
        type(first.covariance)(values, validate_args=False),
        missing=first.missing,
    )
