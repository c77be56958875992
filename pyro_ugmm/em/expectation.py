"""The E-step: one pass over blocks of rows, which leaves sufficient statistics."""

from typing import Self

import torch
from torch import Tensor

from ..accumulation import double, double_device
from ..distributions import GaussianMixture
from ..distributions.blocks import BlockEvaluator, CenteredForm, NaturalForm, Scratch
from ..distributions.components import Components
from ..distributions.covariance.moments import SecondMoments
from ..processes import all_reduce
from .rows import Rows
from .statistics import SufficientStatistics

__all__ = ["Expectation"]

# Log responsibilities below this are raised to it: smaller ones change nothing, and as subnormal
# numbers they would slow the processor down.
_LEAST = {torch.float64: -600.0, torch.float32: -60.0}
_COMPLETION_ENTRIES = 4_000_000


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


class _Total:
    """A sum over the last dimension of many blocks, in double precision.

    A device without it sums each block, and these sums are added elsewhere at the end, so that it
    never waits.

    Args:
        like: a tensor on the device.
        shape: of the total.
    """

    def __init__(self, like: Tensor, *shape: int) -> None:
        device = double_device(like.device)
        self._sum = torch.zeros(shape, dtype=torch.float64, device=device)
        self._parts: list[Tensor] | None = None if device == like.device else []
        self.count = 0

    def add(self, block: Tensor) -> None:
        if self._parts is None:
            self._sum += block.sum(-1, dtype=torch.float64)
        else:
            self._parts.append(block.sum(-1))

    def value(self) -> Tensor:
        parts = double(torch.stack(self._parts)).sum(0) if self._parts else 0.0
        return self._sum + parts + self.count


class _NaturalSums:
    """Moments about the center, of components in their natural form."""

    def __init__(self, form: NaturalForm, means: Tensor, moments: type[SecondMoments]) -> None:
        self._form, self._moments = form, moments
        self._deviations = means - form.center
        self._sums = means.new_zeros(form.n_terms, len(means))
        self._shared: Tensor | None = None

    def add(self, responsibilities: Tensor, terms: Tensor, scratch: Scratch) -> None:
        self._sums.addmm_(terms, responsibilities.T)
        shared = self._moments.shared(self._form.centered_rows(terms), responsibilities)
        if shared is not None:
            self._shared = shared if self._shared is None else self._shared.add_(shared)

    def about_means(self) -> tuple[Tensor, Tensor, Tensor]:
        """Moves the moments' origin from the center to each component's mean.

        Where a component narrows, what is left of its moments may be rounding alone. They are then
        raised to the size of that, and the next step evaluates the component in its centered form.
        """
        outer, means = self._moments.outer, self._deviations
        n_features = means.shape[-1]
        mass, first = self._sums[0], self._sums[1 : 1 + n_features].T
        average = first / mass.clamp(min=torch.finfo(mass.dtype).tiny).unsqueeze(-1)
        second = self._moments.unpack(self._sums[1 + n_features :], n_features)
        if self._shared is not None:
            second = second + self._shared
        shift = outer(average, mass)
        rounding = 4 * torch.finfo(mass.dtype).eps * shift
        second = self._moments.raised(second - shift, rounding) + outer(average - means, mass)
        return mass, first - mass.unsqueeze(-1) * means, second


class _CenteredSums:
    """Moments about the means, of components in their centered form."""

    def __init__(self, form: CenteredForm, means: Tensor, moments: type[SecondMoments]) -> None:
        self._form, self._moments = form, moments
        mass = means.new_zeros(len(means))
        self._sums = mass, torch.zeros_like(means), moments.outer(torch.zeros_like(means), mass)

    def add(self, responsibilities: Tensor, deviations: Tensor, scratch: Scratch) -> None:
        weighted = self._form.weighted(deviations, responsibilities, scratch)
        mass, first, second = self._sums
        mass += responsibilities.sum(1)
        first += weighted.sum(2)
        second += self._moments.sum(weighted, deviations)

    def about_means(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._sums


class Expectation:
    """Gathers the sufficient statistics of rows under a mixture, block by block.

    Args:
        mixture: of batch shape ``(S,)``, one for each restart; all see each block while it is in
            the cache.
        only_likelihood: whether to leave out the moments.
    """

    def __init__(self, mixture: GaussianMixture, *, only_likelihood: bool = False) -> None:
        self._n_restarts = mixture.batch_shape.numel()
        self._structure = type(mixture.covariance)
        self._missing = mixture.missing
        self._pivots = mixture.means
        self._joined = Components(
            mixture.weights.flatten(),
            mixture.means.flatten(0, -2),
            mixture.covariance.joined(),
            mixture.log_weights.flatten(),
        )
        self._evaluator = BlockEvaluator(self._joined)
        self._scratch = Scratch()
        kinds = {NaturalForm: _NaturalSums, CenteredForm: _CenteredSums}
        self._sums: list[tuple[Tensor | slice, _NaturalSums | _CenteredSums]] = [
            (at, kinds[type(form)](form, self._joined.means[at], self._structure.moments))
            for at, form in self._evaluator.parts
            if not only_likelihood
        ]
        self._only_likelihood = only_likelihood
        self._log_likelihood = _Total(self._joined.means, self._n_restarts)
        self._weight = _Total(self._joined.means)
        self._completed: list[Tensor] | None = None

    def read(self, rows: Rows) -> Self:
        """Adds all rows."""
        for x, weight in rows.blocks(self._evaluator.rows_per_block):
            self.add(x, weight)
        return self

    def add(self, x: Tensor, weight: Tensor | None) -> None:
        """Adds rows ``(B, D)`` with weights ``(B,)``, or weights of one."""
        if weight is None:
            self._weight.count += len(x)
        else:
            self._weight.add(weight)
        if self._missing == "marginalize":
            is_partial = x.isnan().any(1)
            if is_partial.any():
                self._add_partial(x[is_partial], None if weight is None else weight[is_partial])
                x = x[~is_partial]
                weight = None if weight is None else weight[~is_partial]
        if len(x):
            responsibilities, left = self._evaluator.log_joint(x.T, self._scratch)
            self._weigh(responsibilities, weight)
            for (at, sums), mine in zip(self._sums, left, strict=False):
                sums.add(responsibilities[at], mine, self._scratch)

    def _weigh(self, log_joint: Tensor, weight: Tensor | None) -> None:
        """Makes weighted responsibilities of ``(S K, B)``, in place, and notes the likelihood."""
        log_density = _normalize(log_joint, self._n_restarts)
        if weight is not None:
            log_joint.mul_(weight)
            log_density = log_density * weight
        self._log_likelihood.add(log_density)

    def _add_partial(self, x: Tensor, weight: Tensor | None) -> None:
        """Adds rows of which something is missing."""
        step = max(1, _COMPLETION_ENTRIES // (self._joined.means.numel() * x.shape[1]))
        for at in range(0, len(x), step):
            completion = self._joined.covariance.complete(x[at : at + step], self._joined.means)
            log_joint = (self._joined.log_weights + completion.log_density).T.contiguous()
            self._weigh(log_joint, None if weight is None else weight[at : at + step])
            if self._only_likelihood:
                continue
            deviations = completion.deviations.permute(1, 2, 0)
            weighted = deviations * log_joint.unsqueeze(1)
            moments = self._structure.moments
            second = moments.project(completion.conditional_moments(log_joint.T))
            sums = [
                log_joint.sum(1),
                weighted.sum(2),
                second + moments.sum(weighted, deviations),
            ]
            if self._completed is not None:
                sums = [a + b for a, b in zip(sums, self._completed, strict=True)]
            self._completed = sums

    def mean_log_likelihood(self) -> tuple[Tensor, Tensor]:
        """Returns the log-likelihood per row of all rows added, of every process, ``(S,)``, and
        their weight.
        """
        total, weight = all_reduce([self._log_likelihood.value(), self._weight.value()])
        return total / weight, weight

    def statistics(self) -> SufficientStatistics:
        """Returns the statistics of all rows added so far, of every process."""
        moments = self._structure.moments
        mass, first = (
            torch.zeros_like(self._joined.log_weights),
            torch.zeros_like(self._joined.means),
        )
        second = moments.outer(first, mass)
        for at, sums in self._sums:
            mass[at], first[at], part = sums.about_means()
            moments.add(second, at, part)
        if self._completed is not None:
            for total, part in zip((mass, first, second), self._completed, strict=True):
                total += part
        batch = self._pivots.shape[:-2]
        mass, first = mass.unflatten(0, (*batch, -1)), first.unflatten(0, (*batch, -1))
        return SufficientStatistics(
            structure=self._structure,
            pivots=self._pivots,
            mass=mass,
            first=first,
            second=moments.unflatten(second, batch),
            log_likelihood=self._log_likelihood.value(),
            weight=self._weight.value(),
            missing=self._missing,
        ).all_reduce()
