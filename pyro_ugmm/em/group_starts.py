"""Where the fits of many groups start."""

from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from ..checks import check
from ..distributions import GaussianMixture
from ..distributions.covariance import Covariance
from ..native import library
from ..randomness import generator_for
from .grouped_rows import GroupedRows
from .initialization import averaged_where_poor
from .kmeans import cluster_by_torch, numbers_for
from .kmeans_call import cluster_natively
from .maximization import maximize
from .starts import checked_start
from .statistics import SufficientStatistics

__all__ = ["ByKmeans", "Given"]

_MOST_ITERATIONS = 50
_TINY = torch.finfo(torch.float64).tiny ** 0.5


class ByKmeans:
    """Starts by k-means in each group.

    Args:
        n_components: :math:`K`.
        structure: of the covariances.
        n_init: how many starts each has.
        reg_covar: what is added to all variances.
        seed: of the random numbers, or None.
        device: where they are.
    """

    said_of_none = "is as wide as the rows of all"

    def __init__(
        self,
        n_components: int,
        structure: type[Covariance],
        n_init: int,
        reg_covar: float,
        seed: int | None,
        device: torch.device,
    ) -> None:
        self.n_components, self.structure = n_components, structure
        self.n_init, self._reg_covar = n_init, reg_covar
        self._generator = generator_for(seed, device)

    def of(self, rows: GroupedRows, at: Tensor) -> GaussianMixture:
        """Starts of some groups that have rows, ``(n_init G,)``: each time of all in turn.

        Args:
            rows: theirs.
            at: which they are.
        """
        uniform = numbers_for(rows.x, self.n_components, self.n_init * len(rows), self._generator)
        by = _clusters_at_once if rows.x.is_cpu and library()[0] is not None else _clusters_in_turn
        labels = by(rows, uniform, self.n_init)
        starts = [self._start(rows, mine) for mine in labels.view(self.n_init, -1)]
        return GaussianMixture.stack(starts).reindex(lambda t: t.flatten(0, 1))

    def _start(self, rows: GroupedRows, labels: Tensor) -> GaussianMixture:
        return _mixtures(rows, labels, self.n_components, self.structure, self._reg_covar)

    def of_none(self, rows: GroupedRows) -> GaussianMixture:
        """What stands for groups without a fit, ``(G,)``."""
        whole = replace(rows, offset=rows.offset[:1] * 0, n_rows=rows.n_rows.sum().reshape(1))
        one = _mixtures(whole, whole.group, 1, self.structure, self._reg_covar)
        shape = len(rows), self.n_components
        weights = one.weights.new_full(shape, 1 / self.n_components)
        n_dims, leading = (1, shape[:1]) if self.structure.is_shared else (2, shape)
        covariance = type(one.covariance)(
            *(t.expand(*leading, *t.shape[n_dims:]) for t in one.covariance.tensors().values()),
            validate_args=False,
        )
        return one.with_parameters(weights, one.means.expand(*shape, -1), covariance)


class Given:
    """Starts that were given, ``(G,)``."""

    n_init = 1
    said_of_none = "is where it started"

    def __init__(self, start: GaussianMixture) -> None:
        self._start, self.n_components = start, start.n_components
        self.structure = type(start.covariance)

    @classmethod
    def checked(cls, start: Any, rows: GroupedRows, n_components: int | None) -> Self:
        """Takes one mixture for all groups, or one for each.

        Raises:
            ValueError: if it does not fit the rows, or the number of components.
        """
        start, count = checked_start("start", start), len(rows)
        shape, n_features = tuple(start.batch_shape), rows.x.shape[1]
        check(shape in ((), (count,)), "start", f"batch shape () or ({count},)", f"{shape}")
        fits = start.n_features == n_features
        check(fits, "start", f"{n_features} features, as x has", start.n_features)
        fits = n_components in (None, start.n_components)
        check(fits, "n_components", f"{start.n_components}, as start has", n_components)
        wide = start.to(rows.x.device, torch.float64)
        weights, means = wide.weights.expand(count, -1), wide.means.expand(count, -1, -1)
        return cls(wide.with_parameters(weights, means, wide.covariance.expand((count,))))

    def of(self, rows: GroupedRows, at: Tensor) -> GaussianMixture:
        """Those of some groups."""
        return self._start.reindex(lambda t: t[at])

    def of_none(self, rows: GroupedRows) -> GaussianMixture:
        """What stands for groups without a fit."""
        return self._start


def _clusters_at_once(rows: GroupedRows, uniform: Tensor, n_init: int) -> Tensor:
    return cluster_natively(
        _standardized(rows),
        rows.weight,
        rows.offset.repeat(n_init),
        rows.n_rows.repeat(n_init),
        uniform,
        _MOST_ITERATIONS,
        torch.get_num_threads(),
    )


def _clusters_in_turn(rows: GroupedRows, uniform: Tensor, n_init: int) -> Tensor:
    sizes = rows.n_rows.tolist()
    parts = zip(_standardized(rows).split(sizes), rows.weight.split(sizes), strict=True)
    pairs = zip([*parts] * n_init, uniform, strict=True)
    return torch.cat([cluster_by_torch(*part, numbers) for part, numbers in pairs])


def _standardized(rows: GroupedRows) -> Tensor:
    """The rows in units of their group's standard deviations."""
    group = rows.group
    share = (rows.weight / rows.total[group]).unsqueeze(-1)
    origin = rows.x[rows.offset]
    center = origin + rows.sums(share * (rows.x - origin[group]))
    deviations = rows.x - center[group]
    scale = rows.sums(share * deviations.square()).sqrt()
    rounding = 10 * torch.finfo(scale.dtype).eps * center.abs()
    return deviations / torch.where(scale > rounding, scale, 1)[group]


def _mixtures(
    rows: GroupedRows,
    labels: Tensor,
    n_components: int,
    structure: type[Covariance],
    reg_covar: float,
) -> GaussianMixture:
    """The mixtures ``(G,)`` whose components are the clusters of each group."""
    shape, moments = (len(rows), n_components), structure.moments
    cluster = rows.group * n_components + labels
    count = len(rows) * n_components

    def sums(values: Tensor) -> Tensor:
        zeros = values.new_zeros(count, *values.shape[1:])
        return zeros.index_add_(0, cluster, values).unflatten(0, shape)

    mass = sums(rows.weight)
    origin = rows.x[rows.offset]
    first = sums(rows.weight.unsqueeze(-1) * (rows.x - origin[rows.group]))
    pivots = origin.unsqueeze(1) + first / mass.clamp(min=_TINY).unsqueeze(-1)
    deviations = rows.x - pivots.flatten(0, 1)[cluster]
    products = moments.outer(deviations.unsqueeze(-2), rows.weight.unsqueeze(-1))
    statistics = SufficientStatistics(
        covariance=structure.unit(pivots),
        pivots=pivots,
        mass=mass,
        first=torch.zeros_like(pivots),
        second=rows.sums(products) if structure.is_shared else sums(products.squeeze(1)),
        log_likelihood=torch.zeros_like(rows.total),
        weight=rows.total,
    )
    mixture, _ = maximize(statistics, reg_covar)
    covariance = averaged_where_poor(mixture.covariance, mixture.weights, reg_covar)
    return mixture.with_covariance(covariance, mixture.missing)
