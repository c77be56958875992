"""Where EM starts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..accumulation import double
from ..checks import check, check_choice, check_integer, check_seed, check_values
from ..distributions import GaussianMixture
from ..distributions.covariance import STRUCTURES, Covariance
from ..missing_values import mixture_rule
from ..precision import full_precision
from ..processes import Processes, all_reduce, is_distributed, together
from ..tables import Table, as_table
from .algorithm import EMAlgorithm
from .conjugate_prior import ConjugatePrior
from .kmeans import distant_rows, kmeans, nearest, numbers_for, spread_labels
from .known_rows import likely_labels
from .maximization import maximize
from .row_sample import gather_rows, sample_rows
from .rows import Rows
from .statistics import SufficientStatistics
from .untracked import untracked

__all__ = ["METHODS", "averaged_where_poor", "initialize"]

_BLOCK_ENTRIES = 1 << 22


@untracked
@full_precision
def initialize(
    x: Any,
    n_components: int,
    covariance: str = "full",
    *,
    rank: int | None = None,
    method: str | None = None,
    labels: Any = None,
    responsibilities: Any = None,
    means: Any = None,
    sample_weight: Any = None,
    n_init: int = 1,
    seed: int | None = None,
    reg_covar: float = 1e-6,
    missing: str = "error",
    prior: ConjugatePrior | None = None,
    group: Any = None,
) -> GaussianMixture:
    """Returns a mixture from which :class:`EMFitter` can start.

    By default, the rows are clustered by k-means, each feature divided by its standard deviation
    first, and each cluster becomes a component. A method clusters at most 50,000 rows, drawn at
    random. A component with too few rows for a covariance of its own starts with the average one.
    NaN entries, where these are allowed, count as their feature's mean. Where
    ``torch.distributed`` is initialized, each process gives its own rows and all get the same start
    from the rows of all; the random choices are the first one's.

    Args:
        x: rows ``(n, D)``, or an iterable of blocks; as for :meth:`EMFitter.fit`.
        n_components: how many.
        covariance: ``"full"``, ``"tied"``, ``"diagonal"``, ``"spherical"`` or ``"low_rank"``.
        rank: of ``"low_rank"``, at most the number of features.
        method: ``"kmeans"``, the default; ``"random_from_data"``: means at rows drawn at random,
            with the covariance of all rows; ``"k-means++"``: the same at rows far from each other;
            or ``"random"``: responsibilities drawn at random.
        labels: instead of a method, a component for each row, integers, shape ``(n,)``; or -1 where
            it is not known, for the one whose rows have the nearest mean; or plausibilities
            ``(n, K)``, of which the highest counts. A component of which no
            row is known begins at a row far from these means.
        responsibilities: likewise, the components' probabilities for each row, ``(n, K)``.
        means: likewise, where the means are, ``(K, D)``; a row counts for the nearest.
        sample_weight: non-negative weights of the rows, shape ``(n,)``.
        n_init: how many starts to return, as a batch of shape ``(n_init,)`` if more than one; by
            a method, as anything else gives but one.
        seed: for the random choices; by default, torch's global generator.
        reg_covar: what is added to all variances, in squared units of the data.
        missing: what NaN means, in ``x`` and to the mixture: ``"error"`` or ``"marginalize"``.
        prior: what else is known, as to :class:`EMFitter`: a feature of which nothing was observed
            starts with its mean and variance.
        group: the processes that start together, as to :class:`EMFitter`.

    Raises:
        ValueError: if an argument is out of its range, rows are not finite, or nothing was observed
            of a feature; on all processes alike.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import initialize
        >>> initialize(torch.randn(100, 2), n_components=3, covariance="diagonal")
        GaussianMixture(batch_shape=(), n_components=3, n_features=2, covariance='diagonal')
    """
    with together(group) as processes:
        mixture_rule(missing)
        steps = EMAlgorithm(reg_covar=reg_covar, prior=prior)
        structure = STRUCTURES[check_choice("covariance", covariance, STRUCTURES)]
        beginning = _Beginning(
            check_integer("n_components", n_components),
            structure,
            rank,
            steps.reg_covar,
            missing,
            prior,
        )
        count, seed = check_integer("n_init", n_init), check_seed("seed", seed)
        given = {"labels": labels, "responsibilities": responsibilities, "means": means}
        ways = [name for name, value in (given | {"method": method}).items() if value is not None]
        check(len(ways) <= 1, " and ".join(ways), "only one of them", f"{len(ways)}")
        by_method = method is not None or not ways
        check(by_method or count == 1, "n_init", f"1, as there is one start from {ways}", count)
        method = "kmeans" if method is None else check_choice("method", method, METHODS)
        centers = None if means is None else as_table("means", means)
        settings = vars(beginning) | {"n_init": count, "method": method, "start": ways}
        processes.agree(settings | {"means": None if centers is None else centers.values})
        rows = Rows(x, None, sample_weight, missing, observed=prior is None or not prior.informs)
        rows.normalize_weights()
        if labels is not None or responsibilities is not None:
            start = beginning.by_row(rows, labels, responsibilities, seed)
            return _shared(processes, start, rows.like.device)
        sample, generator = gather_rows(processes, rows, seed)
        if processes.rank > 0:
            return _shared(processes, None, rows.like.device)
        with together(False):
            draw = METHODS[method]
            start = beginning.by_sample(*sample, centers, draw, count, generator)
        return _shared(processes, start, rows.like.device)


def _shared(
    processes: Processes, start: GaussianMixture | None, device: torch.device
) -> GaussianMixture:
    """The start of the first process, on all."""
    if processes.size == 1:
        assert start is not None
        return start
    mine = None if start is None else start.to("cpu")
    return processes.from_first(mine).to(device)


@dataclass(frozen=True)
class _Beginning:
    """Makes rows into mixtures."""

    n_components: int
    structure: type[Covariance]
    rank: int | None
    reg_covar: float
    missing: str
    prior: ConjugatePrior | None

    def by_row(
        self, rows: Rows, labels: Any, responsibilities: Any, seed: int | None
    ) -> GaussianMixture:
        """Starts where it is known of each row to what it belongs."""
        x, weight, _, generator = sample_rows(rows, None, seed)
        if labels is not None:
            shares = likely_labels(labels, len(x), self.n_components).to(x.device)
            if (shares < 0).any():
                shares = self._spread(x, weight, shares, generator)
        else:
            shares = _checked_responsibilities(responsibilities, len(x), self.n_components)
        total, count = all_reduce([weight.sum(), torch.ones_like(weight).sum()])
        weight = (weight / (total / count)).to(x)
        x, unseen = self._filled(x, weight)
        return self._mixture(x, self._weighted(shares[None], weight), None, unseen)

    def _spread(
        self, x: Tensor, weight: Tensor, labels: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        expected = "all known, where several processes start together"
        check(not is_distributed(), "labels", expected, "some that are not")
        x, weight = self._filled(x, weight)[0], (weight / weight.mean()).to(x)
        center, scale = _center_and_scale(x, weight)
        (uniform,) = numbers_for(x, self.n_components, 1, generator)
        return spread_labels((x - center) / scale, weight, labels, uniform)

    def by_sample(
        self,
        x: Tensor,
        weight: Tensor,
        means: Table | None,
        draw: "_Draw",
        count: int,
        generator: torch.Generator | None,
    ) -> GaussianMixture:
        """Starts from the means, or ``count`` times by a method."""
        weight = (weight / weight.mean()).to(x)
        x, unseen = self._filled(x, weight)
        center, scale = _center_and_scale(x, weight)
        scaled = (x - center) / scale
        if means is not None:
            centers = _checked_means(means, self.n_components, x)
            shares = nearest(scaled, (centers - center) / scale)[0]
            return self._mixture(x, self._weighted(shares[None], weight), centers, unseen)
        shares, drawn = draw(x, scaled, weight, self.n_components, count, generator)
        # All starts at once, if there is room.
        is_alone = self.structure.is_shared or self.structure.has_rank
        one_by_one = is_alone or shares.numel() * self.n_components > _BLOCK_ENTRIES
        parts = shares.split(1 if one_by_one else len(shares))
        mixtures = [self._mixture(x, self._weighted(part, weight), drawn, unseen) for part in parts]
        return mixtures[0] if len(mixtures) == 1 else GaussianMixture.stack(mixtures)

    def _weighted(self, shares: Tensor, weight: Tensor) -> Tensor:
        """What each row counts for each component, ``(S, n, K)``, given shares or labels."""
        if shares.dim() == 2:
            shares = one_hot(shares.to(weight.device), self.n_components)
        return shares.to(weight) * weight.unsqueeze(-1)

    def _filled(self, x: Tensor, weight: Tensor) -> tuple[Tensor, list[int]]:
        """Rows with their features' means for what is missing, and features never observed."""
        if not mixture_rule(self.missing).takes_nan:
            return x, []
        is_nan = x.isnan()
        counts = torch.where(is_nan, 0, weight.unsqueeze(-1))
        mass, sums = all_reduce([counts.sum(0), (counts * x.nan_to_num()).sum(0)])
        center = sums / mass.clamp(min=torch.finfo(mass.dtype).tiny)
        unseen = (mass == 0).cpu().nonzero()[:, 0].tolist()
        if unseen and self.prior is not None:
            prior = self.prior.like(x.new_empty(self.n_components, x.shape[1]))
            center[unseen] = prior.mean.reshape(-1, len(center)).mean(0)[unseen]
        return torch.where(is_nan, center, x), unseen

    def _mixture(
        self, rows: Tensor, shares: Tensor, means: Tensor | None, unseen: list[int]
    ) -> GaussianMixture:
        """Returns the mixtures to which rows belong in ``shares``, ``(S, n, K)``, or as many as
        there are means; a single one without a batch.
        """
        mass, first = all_reduce([shares.sum(1), shares.mT @ rows])
        pivots = first / mass.clamp(min=torch.finfo(rows.dtype).tiny ** 0.5).unsqueeze(-1)
        center = first.sum(1, keepdim=True) / mass.sum(1)[:, None, None]
        pivots = torch.where(mass.unsqueeze(-1) > 0, pivots, center)  # what has no rows is inside
        covariance = self.structure.unit(pivots, self.rank)
        for _ in range(self.structure.n_start_steps):
            statistics = _statistics(rows, shares, pivots, covariance)
            if unseen and self.prior is not None:
                deviations = self.prior.covariance.to(rows).diagonal().sqrt().diag()[unseen]
                outer = covariance.moments.outer
                spread = sum(outer(d.expand_as(pivots), mass) for d in deviations)
                statistics = replace(statistics, second=statistics.second + spread)
            mixture, _ = maximize(replace(statistics, missing=self.missing), self.reg_covar)
            covariance = mixture.covariance
        covariance = averaged_where_poor(covariance, mixture.weights, self.reg_covar)
        means = mixture.means if means is None else means.reshape(-1, *mixture.means.shape[1:])
        count = max(len(shares), len(means))
        weights, covariance = mixture.weights.expand(count, -1), covariance.expand((count,))
        if count == 1:
            weights, means, covariance = weights[0], means[0], covariance.reindex(itemgetter(0))
        return GaussianMixture(weights, means, covariance, missing=self.missing)


def averaged_where_poor(covariance: Covariance, weights: Tensor, reg_covar: float) -> Covariance:
    """Gives components that have hardly any but ``reg_covar`` the average covariance.

    Such a cluster has hardly more rows than there are features.
    """
    average = covariance.pooled(weights)
    least = (1e-4 * average.smallest_variance()).clamp(min=2 * reg_covar)
    poor = covariance.smallest_variance() <= least
    return covariance.where(poor, average).regularized(0.0)[0]


def _center_and_scale(rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    share = weight / weight.sum()
    center = rows[0] + share @ (rows - rows[0])
    scale = (share @ (rows - center).square()).sqrt()
    rounding = 10 * torch.finfo(rows.dtype).eps * center.abs()
    return center, torch.where(scale > rounding, scale, 1)


_Draw = Callable[..., tuple[Tensor, Tensor | None]]
"""Returns labels ``(S, n)``, or shares ``(S, n, K)``, and means ``(S, K, D)`` where they are drawn,
for which one row of shares is enough.
"""


def _by_kmeans(rows, scaled, weight, n_components, count, generator):
    return kmeans(scaled, weight, n_components, generator, count), None


def _at_random(rows, scaled, weight, n_components, count, generator):
    repeats = int((weight > 0).sum()) < n_components
    chances = weight.expand(count, -1)
    at = torch.multinomial(chances, n_components, replacement=repeats, generator=generator)
    return rows.new_full((1, len(rows), n_components), 1 / n_components), rows[at]


def _at_distant_rows(rows, scaled, weight, n_components, count, generator):
    uniform = numbers_for(scaled, n_components, count, generator)
    at = torch.stack([distant_rows(scaled, weight, numbers) for numbers in uniform])
    return rows.new_full((1, len(rows), n_components), 1 / n_components), rows[at]


def _shared_at_random(rows, scaled, weight, n_components, count, generator):
    kind = {"dtype": rows.dtype, "device": rows.device}
    shares = torch.rand(count, len(rows), n_components, generator=generator, **kind)
    return shares / shares.sum(-1, keepdim=True), None


METHODS: dict[str, _Draw] = {
    "kmeans": _by_kmeans,
    "k-means++": _at_distant_rows,
    "random": _shared_at_random,
    "random_from_data": _at_random,
}
"""Ways to draw a start, by scikit-learn's names."""


def _checked_responsibilities(values: Any, n_rows: int, n_components: int) -> Tensor:
    is_counts = isinstance(values, Tensor) and not values.is_floating_point()
    table = as_table("responsibilities", values.float() if is_counts else values)
    shape, expected = tuple(table.values.shape), (n_rows, n_components)
    check(shape == expected, "responsibilities", f"shape {expected}", shape)
    table.check_entries(table.values >= 0, "non-negative values")
    total = table.values.sum(1)
    check_values(
        "responsibilities", total, (total - 1).abs() < 1e-4, "rows that sum to one; as sums"
    )
    return table.values.detach()


def _checked_means(table: Table, n_components: int, rows: Tensor) -> Tensor:
    shape, expected = tuple(table.values.shape), (n_components, rows.shape[1])
    check(shape == expected, table.name, f"shape {expected}", shape)
    table.check_finite()
    return table.like("x", rows).values.detach()


def _statistics(
    rows: Tensor, shares: Tensor, pivots: Tensor, covariance: Covariance
) -> SufficientStatistics:
    """The statistics of the rows of all processes about the clusters' means, for each of several
    shares ``(S, n, K)``.
    """
    mass, first = shares.sum(1), torch.zeros_like(pivots)
    moments = covariance.joined().moments
    second = covariance.moments.outer(first, mass)
    size = max(1, _BLOCK_ENTRIES // pivots.numel())
    for x, share in zip(rows.split(size), shares.split(size, 1), strict=True):
        deviations = x.T - pivots.flatten(0, 1).unsqueeze(-1)
        weighted = deviations * share.mT.flatten(0, 1).unsqueeze(1)
        first = first + weighted.sum(-1).view_as(first)
        second = second + moments.unflatten(moments.sum(weighted, deviations), mass.shape[:1])
    mass, first, second = all_reduce([mass, first, second])
    total = double(mass).sum(-1)
    return SufficientStatistics(covariance, pivots, mass, first, second, 0 * total, total)
