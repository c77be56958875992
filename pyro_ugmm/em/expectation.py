"""The E-step: one pass over blocks of rows, which leaves sufficient statistics."""

from typing import Self

import torch
from torch import Tensor

from ..accumulation import BlockSum
from ..distributions import GaussianMixture
from ..distributions.blocks import BlockEvaluator, CenteredForm, NaturalForm, Scratch
from ..distributions.completion import incomplete_rows_at_once
from ..distributions.components import Components
from ..distributions.covariance.moments import SecondMoments
from ..missing_values import mixture_rule
from ..processes import all_reduce
from .bounds import BoundedEvaluator
from .carried_bounds import CarriedBounds
from .known_rows import KnownRows
from .products import DenseProducts, SparseProducts, products_for
from .rows import Rows
from .statistics import SufficientStatistics

__all__ = ["Expectation"]

# Log responsibilities below this are raised to it: smaller ones change nothing, and as subnormal
# numbers they would slow the processor down.
_LEAST = {torch.float64: -600.0, torch.float32: -60.0}


def _normalize(log_joint: Tensor, n_restarts: int) -> Tensor:
    """Turns joint log densities ``(S K, B)`` into responsibilities, in place.

    Returns the log densities of the rows, ``(S, B)``.
    """
    joint = log_joint.view(n_restarts, -1, log_joint.shape[-1])
    largest = joint.amax(1, keepdim=True).clamp_(min=torch.finfo(joint.dtype).min)
    joint.sub_(largest).clamp_(min=_LEAST[joint.dtype]).exp_()
    total = joint.sum(1, keepdim=True)
    joint.div_(total)
    return (total.log_() + largest).squeeze(1)


def _added(sums: list[Tensor] | None, others: list[Tensor]) -> list[Tensor]:
    """Adds to sums, in place, if there are any."""
    return others if sums is None else [a.add_(b) for a, b in zip(sums, others, strict=True)]


def _zeros(means: Tensor, moments: SecondMoments) -> list[Tensor]:
    """The sums of no rows: mass, first and second moments of components with means ``(K, D)``."""
    mass, first = means.new_zeros(len(means)), torch.zeros_like(means)
    return [mass, first, moments.outer(first, mass)]


class _NaturalSums:
    """Moments about the center, of components in their natural form."""

    def __init__(
        self, form: NaturalForm, weights: Tensor, means: Tensor, moments: SecondMoments
    ) -> None:
        self._form, self._moments = form, moments
        self._weights, self._means = weights, means
        self._products: DenseProducts | SparseProducts | None = None
        self.is_sparse = False
        self._shared: Tensor | None = None

    def add(
        self, responsibilities: Tensor, weight: Tensor | None, terms: Tensor, scratch: Scratch
    ) -> None:
        if self._products is None:
            mine = self._weights, self._means.shape[1], self._moments
            self._products = products_for(responsibilities, weight, *mine)
            self.is_sparse = isinstance(self._products, SparseProducts)
            if len(terms) < self._form.n_terms:  # of a bounded evaluation
                self._products = SparseProducts(*mine)
        self._products.add(terms, responsibilities, weight)
        shared = self._moments.shared(self._form.centered_rows(terms), responsibilities)
        if shared is not None:
            self._shared = shared if self._shared is None else self._shared.add_(shared)

    def about_means(self) -> list[Tensor]:
        """Moves the moments' origin from the center to each component's mean.

        Where a component narrows, what is left of its moments may be rounding alone. They are then
        raised to the size of that, and the next step evaluates the component in its centered form.
        """
        if self._products is None:
            return _zeros(self._means, self._moments)
        outer, means = self._moments.outer, self._means - self._form.center
        mass, first, second = self._products.moments()
        average = first / mass.clamp(min=torch.finfo(mass.dtype).tiny).unsqueeze(-1)
        if self._shared is not None:
            second = second + self._shared
        shift = outer(average, mass)
        rounding = 4 * torch.finfo(mass.dtype).eps * shift
        second = self._moments.at_least(second - shift, rounding) + outer(average - means, mass)
        return [mass, first - mass.unsqueeze(-1) * means, second]


class _CenteredSums:
    """Moments about the means, of components in their centered form."""

    def __init__(
        self, form: CenteredForm, weights: Tensor, means: Tensor, moments: SecondMoments
    ) -> None:
        self._form, self._means, self._moments = form, means, moments
        self._sums: list[Tensor] | None = None

    def add(
        self, responsibilities: Tensor, weight: Tensor | None, deviations: Tensor, scratch: Scratch
    ) -> None:
        weighted = self._form.weighted(deviations, responsibilities, scratch)
        second = self._moments.sum(weighted, deviations)
        self._sums = _added(self._sums, [responsibilities.sum(1), weighted.sum(2), second])

    def about_means(self) -> list[Tensor]:
        return _zeros(self._means, self._moments) if self._sums is None else self._sums


class Expectation:
    """Gathers the sufficient statistics of rows under a mixture, block by block.

    Args:
        mixture: of batch shape ``()``, or ``(S,)``; all S see each block while it is in the cache.
        only_likelihood: whether to leave out the moments.
        log_weights: in the place of the mixture's, normalized or not.
        bounds: what leaves out components that are below rounding; then all rows are read once.
    """

    def __init__(
        self,
        mixture: GaussianMixture,
        *,
        only_likelihood: bool = False,
        log_weights: Tensor | None = None,
        bounds: CarriedBounds | None = None,
    ) -> None:
        self._batch_shape = mixture.batch_shape
        self._n_restarts = mixture.batch_shape.numel()
        self._covariance = mixture.covariance
        self._missing = mixture.missing
        self._pivots = mixture.means
        self._joined = Components(
            mixture.weights.flatten(),
            mixture.means.flatten(0, -2),
            mixture.covariance.joined(),
            (mixture.log_weights if log_weights is None else log_weights).flatten(),
        )
        self._bounds, plain = bounds, BlockEvaluator(self._joined)
        self._evaluator: BlockEvaluator | BoundedEvaluator = plain
        if bounds is not None:
            self._evaluator = bounds.evaluator(self._joined, plain, self._n_restarts)
        self._scratch = Scratch()
        kinds = {NaturalForm: _NaturalSums, CenteredForm: _CenteredSums}
        weights, means = self._joined.weights, self._joined.means
        self._moments = moments = self._joined.covariance.moments
        self._sums: list[tuple[Tensor | slice, _NaturalSums | _CenteredSums]] = [
            (at, kinds[type(form)](form, weights[at], means[at], moments))
            for at, form in self._evaluator.parts
            if not only_likelihood
        ]
        self._only_likelihood = only_likelihood
        self._log_likelihood = BlockSum(self._pivots, self._n_restarts)
        self._weight = BlockSum(self._pivots)
        self._completed: list[Tensor] | None = None
        self._has_background = False

    def read(self, rows: Rows) -> Self:
        """Adds all rows."""
        at = 0
        for x, weight in rows.blocks(self._evaluator.rows_per_block):
            self.add(x, weight, rows.known.some(slice(at, at + len(x))))
            at += len(x)
        if self._bounds is not None and not self._only_likelihood:
            is_sparse = any(isinstance(s, _NaturalSums) and s.is_sparse for _, s in self._sums)
            self._bounds.conclude(self._evaluator, is_sparse)
        return self

    def add(self, x: Tensor, weight: Tensor | None, known: KnownRows) -> None:
        """Adds rows ``(B, D)`` with weights ``(B,)``, or weights of one."""
        if weight is None:
            self._weight.count += len(x)
        else:
            self._weight.add(weight)
        if known.noise is not None:
            return self._add_partial(x, weight, known)
        if mixture_rule(self._missing).takes_nan:
            is_partial = x.isnan().any(1)
            if is_partial.any():
                some = None if weight is None else weight[is_partial]
                self._add_partial(x[is_partial], some, known.some(is_partial))
                x, known = x[~is_partial], known.some(~is_partial)
                weight = None if weight is None else weight[~is_partial]
        if len(x):
            responsibilities, left = self._evaluator.log_joint(x.T, self._scratch)
            self._weigh(responsibilities, weight, known)
            for (at, sums), mine in zip(self._sums, left, strict=False):
                sums.add(responsibilities[at], weight, mine, self._scratch)

    def _weigh(self, log_joint: Tensor, weight: Tensor | None, known: KnownRows) -> None:
        """Makes weighted responsibilities of ``(S K, B)``, in place, and notes the likelihood."""
        known.share_out(log_joint, len(log_joint) // self._n_restarts)
        log_density = _normalize(log_joint, self._n_restarts)
        if known.background is not None:
            by_restart = log_joint.view(self._n_restarts, -1, log_joint.shape[-1])
            weights = self._joined.weights.view(self._n_restarts, -1)
            log_density = known.background.take_share(log_density, by_restart, weights)
            self._has_background = True
        if weight is not None:
            log_joint.mul_(weight)
            log_density = log_density * weight
        self._log_likelihood.add(log_density)

    def _add_partial(self, x: Tensor, weight: Tensor | None, known: KnownRows) -> None:
        """Adds rows of which something is missing, or known with an error."""
        step = incomplete_rows_at_once(self._joined.means)
        for at in range(0, len(x), step):
            part = slice(at, at + step)
            some, means = known.some(part), self._joined.means
            completion = self._joined.covariance.complete(x[part], means, some.noise)
            log_joint = (self._joined.log_weights + completion.log_density).T.contiguous()
            self._weigh(log_joint, None if weight is None else weight[part], some)
            if self._only_likelihood:
                continue
            deviations = completion.deviations.permute(1, 2, 0)
            weighted = deviations * log_joint.unsqueeze(1)
            second = self._moments.project(completion.conditional_moments(log_joint.T))
            second = second + self._moments.sum(weighted, deviations)
            sums = [log_joint.sum(1), weighted.sum(2), second]
            self._completed = _added(self._completed, sums)

    def mean_log_likelihood(self) -> tuple[Tensor, Tensor]:
        """Returns the log-likelihood per row of all rows added, of every process, in the batch's
        shape, and their weight.
        """
        total, weight = all_reduce([self._log_likelihood.value(), self._weight.value()])
        return total.view(self._batch_shape) / weight, weight

    def statistics(self) -> SufficientStatistics:
        """Returns the statistics of all rows added so far, of every process."""
        batch = self._batch_shape
        sums = [*self._all_sums(), self._log_likelihood.value(), self._weight.value()]
        mass, first, second, log_likelihood, weight = all_reduce(sums)
        return SufficientStatistics(
            covariance=self._covariance,
            pivots=self._pivots,
            mass=mass.view(*batch, -1),
            first=first.view(self._pivots.shape),
            second=self._moments.unflatten(second, batch),
            log_likelihood=log_likelihood.view(batch),
            weight=weight,
            missing=self._missing,
            has_background=self._has_background,
        )

    def _all_sums(self) -> list[Tensor]:
        """Mass, first and second moments of all components and rows."""
        if len(self._sums) == 1 and self._completed is None:
            return self._sums[0][1].about_means()
        mass, first, second = _zeros(self._joined.means, self._moments)
        for at, part in self._sums:
            mass[at], first[at], others = part.about_means()
            self._moments.add(second, at, others)
        whole = [mass, first, second]
        return whole if self._completed is None else _added(whole, self._completed)
