"""Where EM starts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
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
from ..processes import Processes, all_reduce, together
from ..randomness import generator_for
from ..tables import Table, as_labels, as_table
from .algorithm import EMAlgorithm
from .conjugate_prior import ConjugatePrior
from .kmeans import distant_rows, kmeans, nearest
from .maximization import maximize
from .rows import Rows
from .statistics import SufficientStatistics
from .untracked import untracked

__all__ = ["METHODS", "initialize"]

MOST_ROWS = 50_000
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
        labels: instead of a method, a component for each row, integers, shape ``(n,)``.
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
            start = beginning.by_row(rows, labels, responsibilities)
            return _shared(processes, start, rows.like.device)
        sample, generator = _gathered(processes, rows, seed)
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

    def by_row(self, rows: Rows, labels: Any, responsibilities: Any) -> GaussianMixture:
        """Starts where it is known of each row to what it belongs."""
        x, weight, _, _ = _sample(rows, None, None)
        if labels is not None:
            shares = _checked_labels(labels, len(x), self.n_components)
        else:
            shares = _checked_responsibilities(responsibilities, len(x), self.n_components)
        total, count = all_reduce([weight.sum(), torch.ones_like(weight).sum()])
        weight = (weight / (total / count)).to(x)
        x, unseen = self._filled(x, weight)
        return self._mixture(x, self._weighted(shares, weight), None, unseen)

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
            return self._mixture(x, self._weighted(shares, weight), centers, unseen)
        starts = []
        for _ in range(count):
            shares, drawn = draw(x, scaled, weight, self.n_components, generator)
            starts.append(self._mixture(x, self._weighted(shares, weight), drawn, unseen))
        return starts[0] if count == 1 else GaussianMixture.stack(starts)

    def _weighted(self, shares: Tensor, weight: Tensor) -> Tensor:
        """What each row counts for each component, ``(n, K)``, given shares or labels."""
        if shares.dim() == 1:
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
        """Returns the mixture to which rows belong in ``shares``, ``(n, K)``."""
        mass, first = all_reduce([shares.sum(0), shares.T @ rows])
        pivots = first / mass.clamp(min=torch.finfo(rows.dtype).tiny ** 0.5).unsqueeze(-1)
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
        covariance = self._with_average(covariance, mixture.weights)
        means = mixture.means if means is None else means
        return GaussianMixture(mixture.weights, means, covariance, missing=self.missing)

    def _with_average(self, covariance: Covariance, weights: Tensor) -> Covariance:
        """Gives components that have hardly any but ``reg_covar`` the average covariance.

        Such a cluster has hardly more rows than there are features.
        """
        average = covariance.pooled(weights)
        least = (1e-4 * average.smallest_variance()).clamp(min=2 * self.reg_covar)
        poor = covariance.smallest_variance() <= least
        return covariance.where(poor, average).regularized(0.0)[0]


def _center_and_scale(rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    share = weight / weight.sum()
    center = rows[0] + share @ (rows - rows[0])
    scale = (share @ (rows - center).square()).sqrt()
    rounding = 10 * torch.finfo(rows.dtype).eps * center.abs()
    return center, torch.where(scale > rounding, scale, 1)


_Draw = Callable[..., tuple[Tensor, Tensor | None]]


def _by_kmeans(rows, scaled, weight, count, generator) -> tuple[Tensor, Tensor | None]:
    return kmeans(scaled, weight, count, generator), None


def _at_random(rows, scaled, weight, count, generator) -> tuple[Tensor, Tensor | None]:
    repeats = int((weight > 0).sum()) < count
    at = torch.multinomial(weight, count, replacement=repeats, generator=generator)
    return rows.new_full((len(rows), count), 1 / count), rows[at]


def _at_distant_rows(rows, scaled, weight, count, generator) -> tuple[Tensor, Tensor | None]:
    at = distant_rows(scaled, weight, count, generator)
    return rows.new_full((len(rows), count), 1 / count), rows[at]


def _shared_at_random(rows, scaled, weight, count, generator) -> tuple[Tensor, Tensor | None]:
    kind = {"dtype": rows.dtype, "device": rows.device}
    shares = torch.rand(len(rows), count, generator=generator, **kind)
    return shares / shares.sum(1, keepdim=True), None


METHODS: dict[str, _Draw] = {
    "kmeans": _by_kmeans,
    "k-means++": _at_distant_rows,
    "random": _shared_at_random,
    "random_from_data": _at_random,
}
"""Ways to draw a start, by scikit-learn's names."""


def _sample(
    rows: Rows, most: int | None, seed: int | None
) -> tuple[Tensor, Tensor, Tensor, torch.Generator | None]:
    """Returns all rows, or as many drawn at random, their weights, keys and the generator used.

    Those of the largest keys, which are random numbers, are drawn.
    """
    blocks: list[tuple[Tensor, Tensor, Tensor]] = []
    generator, count = None, 0
    for x, weight in rows.blocks(1 << 16):
        if generator is None:
            generator = generator_for(seed, x.device)
        weight = double(torch.ones_like(x[:, 0]) if weight is None else weight)
        key = torch.rand(len(x), device=x.device, generator=generator, dtype=torch.float32)
        blocks.append((x, weight, key))
        count += len(x)
        if most is not None and count > most:
            blocks, count = [_largest(*_joined(blocks), most)], most
    if not blocks:  # all rows are with other processes
        x = rows.like.flatten(0, -2)[:0]
        blocks = [(x, double(x[:, 0]), x[:, 0].float())]
    return *_joined(blocks), generator


def _joined(blocks: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    x, weight, key = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return x, weight, key


def _largest(x: Tensor, weight: Tensor, key: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of the largest keys, in their order."""
    at = key.topk(min(most, len(key))).indices.sort().values
    return x[at], weight[at.to(weight.device)], key[at]


def _gathered(
    processes: Processes, rows: Rows, seed: int | None
) -> tuple[tuple[Tensor, Tensor], torch.Generator | None]:
    """Returns all rows of all processes, or as many drawn at random, their weights and a generator.

    The first process gets them all, as if it had been alone.
    """
    mine = None if seed is None else seed + processes.rank
    x, weight, key, generator = _sample(rows, MOST_ROWS, mine)
    if processes.size == 1:
        return (x, weight), generator
    keys = torch.cat(processes.gather("keys", key.cpu()))
    least = keys.topk(MOST_ROWS).values[-1] if len(keys) > MOST_ROWS else -1
    among = key.cpu() >= least
    parts = processes.gather("sample", (x.cpu()[among], weight.cpu()[among]))
    if processes.rank > 0:
        return (x, weight), None
    x, weight = (torch.cat(part).to(rows.like.device) for part in zip(*parts, strict=True))
    with together(False):
        alone = Rows(x, None, weight, rows.missing)
        x, weight, _, generator = _sample(alone, MOST_ROWS, seed)
    return (x, weight), generator


def _checked_labels(labels: Any, n_rows: int, n_components: int) -> Tensor:
    labels = as_labels("labels", labels)
    shape = tuple(labels.shape)
    check(shape == (n_rows,), "labels", f"shape ({n_rows},), as x has rows", shape)
    is_whole = not (labels.is_floating_point() or labels.is_complex())
    check(is_whole, "labels", "integers", labels.dtype)
    valid = (labels >= 0) & (labels < n_components)
    check_values("labels", labels, valid, f"integers between 0 and {n_components - 1}")
    return labels.long()


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
    """The statistics of the rows of all processes about the clusters' means."""
    moments, mass, first = covariance.moments, shares.sum(0), torch.zeros_like(pivots)
    second = moments.outer(first, mass)
    size = max(1, _BLOCK_ENTRIES // pivots.numel())
    for x, share in zip(rows.split(size), shares.split(size), strict=True):
        deviations = x.T - pivots.unsqueeze(-1)
        weighted = deviations * share.T.unsqueeze(1)
        first = first + weighted.sum(-1)
        second = second + moments.sum(weighted, deviations)
    mass, first, second = all_reduce([mass, first, second])
    total = double(mass).sum()
    return SufficientStatistics(covariance, pivots, mass, first, second, 0 * total, total)
