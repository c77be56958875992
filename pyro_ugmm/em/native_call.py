"""Many steps of EM of many mixtures in one call of the library in C."""

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from ..distributions import GaussianMixture
from ..native import library, open_variant
from ..status import Status
from .endings import limit_reached
from .result import EMPTY_SHARE
from .state import EMState, largest_mean
from .statistics import SufficientStatistics
from .stopping import Tolerance

__all__ = ["CONVERGED", "EXTRAORDINARY", "STRUCTURES", "NativeRun", "Problems", "take_steps"]

STRUCTURES = ("full", "tied", "diagonal", "spherical")
"""The covariance structures that it knows."""

CONVERGED, EXTRAORDINARY, _NO_MEMORY = 1, 2, 3
"""What became of a mixture: its steps have ended, or the next one is for others to take."""

_SUFFIX = {torch.float32: "float", torch.float64: "double"}


class _Call(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("n_problems", "n_components", "n_features")),
        *((name, ctypes.c_int64) for name in ("structure", "most_steps", "begins", "is_whole")),
        ("n_threads", ctypes.c_int64),
        *((name, ctypes.c_double) for name in ("floor", "tolerance", "empty", "largest")),
    ]


class Problems(NamedTuple):
    """The rows of each of P mixtures.

    Attributes:
        x: all rows, ``(n, D)``, contiguous.
        weight: theirs, ``(n,)``, or ``None`` for ones.
        offset: where each mixture's rows begin, int64, ``(P,)``; they may overlap.
        n_rows: how many they are, int64, ``(P,)``.
        total: the sum of their weights, float64, ``(P,)``, or ``()`` if it is the same for all.
    """

    x: Tensor
    weight: Tensor | None
    offset: Tensor
    n_rows: Tensor
    total: Tensor

    @classmethod
    def of_restarts(cls, x: Tensor, weight: Tensor | None, count: int) -> Self:
        """Returns so many problems of the same rows ``(n, D)``."""
        offset, n_rows = torch.tensor([[0] * count, [len(x)] * count], device=x.device)
        if weight is None:
            total = n_rows[0].double()
        else:
            weight, total = weight.contiguous(), weight.sum(dtype=torch.float64)
        return cls(x.contiguous(), weight, offset, n_rows, total)


@dataclass(frozen=True, kw_only=True)
class NativeRun:
    """Where mixtures of a batch ``(P,)`` are after some steps.

    Attributes:
        like: a mixture of their kind.
        weights: theirs, ``(P, K)``.
        means: theirs, ``(P, K, D)``.
        parts: theirs, what covariances are made of, by name.
        sums: mass, first and second moments; of mixtures that have ended, they mean nothing.
        numbers: the mean log-likelihood, the objective and its last change, ``(P, 3)``; NaN where
            the start was extraordinary.
        total: the weight of the rows.
        n_before: the steps taken before.
        outcomes: of each: converged, extraordinary, or zero.
        n_steps: how many each took.
        values: the mean log-likelihood before and after each step.
    """

    like: GaussianMixture
    weights: Tensor
    means: Tensor
    parts: dict[str, Tensor]
    sums: list[Tensor]
    numbers: Tensor
    total: Tensor
    n_before: int
    outcomes: list[int]
    n_steps: list[int]
    values: list[list[float]]

    def mixture(self, at: Any = ()) -> GaussianMixture:
        """Returns all mixtures, or the one at an index into the batch."""
        parts = {name: part[at] for name, part in self.parts.items()}
        covariance = type(self.like.covariance).from_tensors(parts)
        return self.like.with_parameters(self.weights[at], self.means[at], covariance)

    def ending(self, i: int, tolerance: Tolerance) -> tuple[Status, str]:
        """Says how one ended that took all of its steps at once."""
        n_steps, values = self.n_steps[i], self.values[i]
        if self.outcomes[i] == CONVERGED:
            change = values[n_steps - 1] - values[n_steps - 2]
            return Status.CONVERGED, tolerance.words(change, n_steps, "log-likelihood")
        change = values[n_steps] - values[n_steps - 1]
        return Status.LIMIT_REACHED, limit_reached(change, n_steps, "log-likelihood")

    def state(self) -> EMState:
        """Returns the state of all, though some may have taken fewer steps."""
        mixture = self.mixture()
        log_likelihood, objective, change = self.numbers.T.contiguous().unbind()
        mass, first, second = self.sums
        statistics = SufficientStatistics(
            covariance=mixture.covariance,
            pivots=self.means,
            mass=mass,
            first=first,
            second=second,
            log_likelihood=log_likelihood * self.total,
            weight=self.total,
        )
        return EMState(
            mixture=mixture,
            statistics=statistics,
            log_likelihood=log_likelihood,
            objective=objective,
            change=change,
            n_steps=self.n_before + max(self.n_steps),
        )


@cache
def _function(variant: str, dtype: torch.dtype) -> Callable[..., Any]:
    opened = open_variant(variant) if variant else library()[0]
    function = getattr(opened, f"em_{_SUFFIX[dtype]}")
    function.argtypes = [ctypes.POINTER(_Call), *[ctypes.c_void_p] * 14]
    function.restype = None
    return function


def take_steps(
    problems: Problems,
    position: GaussianMixture | EMState,
    most_steps: int,
    *,
    reg_covar: float,
    tol: float,
    is_whole: bool = False,
    n_threads: int = 1,
    variant: str = "",
) -> NativeRun:
    """Takes up to so many steps from where mixtures of batch shape ``(P,)``, or one, are.

    Where a step is out of the ordinary, as a component has no rows, a covariance is singular or
    numbers leave their range, a mixture stays before it; a start may be so itself.

    Args:
        problems: the rows.
        position: starts, or where earlier steps led.
        most_steps: at most.
        reg_covar: what is added to the variances.
        tol: a smaller change of the mean log-likelihood makes the next step the last.
        is_whole: whether no steps follow these.
        n_threads: on how many; which changes nothing else.
        variant: of the library, if not the fastest.
    """
    is_start = isinstance(position, GaussianMixture)
    mixture = position if isinstance(position, GaussianMixture) else position.mixture
    weights, means = _copy(mixture.weights), _copy(mixture.means)
    ((name, given),) = mixture.covariance.expand(mixture.batch_shape).tensors().items()
    covariance = _copy(given)
    n_components, n_features = means.shape[-2:]
    n_problems = len(problems.offset)
    numbers = means.new_full((n_problems, 3), math.nan, dtype=torch.float64)
    if isinstance(position, GaussianMixture):
        n_before, sums = 0, [torch.empty_like(part) for part in (weights, means, covariance)]
    else:
        assert position.statistics is not None
        n_before, sums = position.n_steps, [_copy(t) for t in position.statistics.moments]
        torch.stack([position.log_likelihood, position.objective, position.change], 1, out=numbers)
    values = numbers.new_empty(n_problems, most_steps + 1)
    n_steps, outcomes = torch.empty_like(problems.n_rows), torch.empty_like(problems.n_rows)
    call = _Call(
        n_problems,
        n_components,
        n_features,
        STRUCTURES.index(mixture.covariance.name),
        most_steps,
        is_start,
        is_whole,
        n_threads,
        reg_covar,
        tol,
        EMPTY_SHARE,
        largest_mean(means.dtype),
    )
    arrays = [*problems[:4], weights, means, covariance, *sums, numbers]
    pointers = [None if one is None else one.data_ptr() for one in (*arrays, values, n_steps)]
    _function(variant, means.dtype)(call, *pointers, outcomes.data_ptr())
    run = NativeRun(
        like=mixture,
        weights=weights,
        means=means,
        parts={name: covariance},
        sums=sums,
        numbers=numbers,
        total=problems.total,
        n_before=n_before,
        outcomes=outcomes.tolist(),
        n_steps=n_steps.tolist(),
        values=values.tolist(),
    )
    if _NO_MEMORY in run.outcomes:
        raise MemoryError("there is no memory for the rows of a mixture")
    return run


def _copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)
