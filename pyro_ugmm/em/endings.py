"""How restarts of EM end, and what is said of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from ..distributions import GaussianMixture
from ..status import Status
from .state import EMState

__all__ = ["Ending", "Trace", "cut_off", "endings_at_start", "endings_of_step", "limit_reached"]


@dataclass(frozen=True)
class Trace:
    """A restart at work.

    Attributes:
        index: which one it is.
        history: the mean log-likelihood before each M-step. An entry may be one too many, of a
            step that did not end.
    """

    index: int
    history: list[float]


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A restart that has ended: its number, its mixture of batch shape ``()``, and why it ended."""

    index: int
    history: list[float]
    mixture: GaussianMixture
    log_likelihood: float
    objective: float
    status: Status
    reason: str

    @classmethod
    def at(
        cls, state: EMState, i: int, index: int, history: list[float], status: Status, reason: str
    ) -> Self:
        """Returns one that ends with the mixture ``i`` of a state."""
        return cls(
            index=index,
            history=history,
            mixture=state.mixture.reindex(lambda t: t[i]),
            log_likelihood=state.log_likelihood[i].item(),
            objective=state.objective[i].item(),
            status=status,
            reason=reason,
        )

    @classmethod
    def at_start(
        cls, starts: GaussianMixture, index: int, log_likelihood: float, status: Status, reason: str
    ) -> Self:
        """Returns one that ends with its start."""
        return cls(
            index=index,
            history=[],
            mixture=starts.reindex(lambda t: t[index]),
            log_likelihood=log_likelihood,
            objective=-math.inf,
            status=status,
            reason=reason,
        )

    def is_better(self, other: Self | None) -> bool:
        """Whether it ended higher than another one, or as high and came first."""
        if other is None or self.objective > other.objective:
            return True
        return self.objective == other.objective and self.index < other.index

    def tensors(self) -> dict[str, Any]:
        """Returns tensors, numbers and strings by name, for :meth:`from_tensors`."""
        whole = self.mixture.tensors(computed=True)  # parts of what others are parts of
        mixture = {name: tensor.clone() for name, tensor in whole.items()}
        return vars(self) | {"mixture": mixture, "status": self.status.name}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Any], like: GaussianMixture) -> Self:
        """Takes what :meth:`tensors` gave, for a mixture of the same kind on its own device."""
        kept = {name: t.to(like.means.device) for name, t in tensors["mixture"].items()}
        mixture = like.from_tensors(kept, like.covariance.name, missing=like.missing)
        return cls(**tensors | {"mixture": mixture, "status": Status[tensors["status"]]})


def endings_of_step(
    at_work: Sequence[Trace],
    before: EMState,
    after: EMState,
    broken: Sequence[bool],
    reasons: Sequence[tuple[Status, str] | None],
) -> list[Ending]:
    """Returns the restarts that end with a step.

    One that broke down in it, or led beyond the numbers' range, ends as it was before; others end
    if there is a reason.
    """
    endings, dtype = [], after.mixture.means.dtype
    for i, (trace, is_sound) in enumerate(zip(at_work, after.soundness(), strict=True)):
        state, why = after, reasons[i]
        if broken[i] or not is_sound:
            state, why = before, (Status.BROKEN_DOWN, _beyond_range(after.n_steps, dtype))
        if why is not None:
            history = trace.history[: after.n_steps]
            endings.append(Ending.at(state, i, trace.index, history, *why))
    return endings


def endings_at_start(
    starts: GaussianMixture, state: EMState, at: Sequence[int], max_iter: int
) -> list[Ending]:
    """Returns the restarts ``at`` that take no step from their start, in a state: those that are
    beyond the numbers' range there, and all if there is no step to take.
    """
    why, endings = _beyond_range(0, starts.means.dtype), []
    limit = Status.LIMIT_REACHED, "stopped after max_iter=0 steps: this is the start"
    for i, (index, is_sound) in enumerate(zip(at, state.soundness(), strict=True)):
        if not is_sound:
            endings.append(Ending.at_start(starts, index, -math.inf, Status.BROKEN_DOWN, why))
        elif max_iter == 0:
            endings.append(Ending.at(state, i, index, [], *limit))
    return endings


def cut_off(
    at_work: Sequence[Trace], state: EMState | None, starts: GaussianMixture
) -> list[Ending]:
    """Returns the restarts that an interruption finds in a state, or before it is known."""
    status, start = Status.INTERRUPTED, "interrupted before the first step: this is the start"
    if state is None:
        return [Ending.at_start(starts, trace.index, math.nan, status, start) for trace in at_work]
    n_steps = state.n_steps
    why = status, f"interrupted in step {n_steps + 1}"
    return [
        Ending.at(state, i, trace.index, trace.history[:n_steps], *why)
        for i, trace in enumerate(at_work)
    ]


def limit_reached(change: float, n_steps: int, objective: str) -> str:
    """Says that ``max_iter`` steps were taken, the last change, and of what."""
    changed = f"the last of which changed the mean {objective} by {change:.3g}"
    if math.isinf(change):
        changed = "from a start that was beyond the numbers' range"
    return f"stopped after max_iter={n_steps} steps, {changed}; raise max_iter, or go on from here"


def _beyond_range(n_steps: int, dtype: torch.dtype) -> str:
    where = f"after step {n_steps}, which was taken back" if n_steps else "at the start"
    return (
        f"stopped: {where}, some rows were too far from all components for the range of {dtype}; "
        "standardize the features, or start nearer"
    )
