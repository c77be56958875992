"""Where the iterations of EM stand: what an interruption leaves, and a checkpoint holds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..distributions import GaussianMixture

__all__ = ["Outcome", "Stage", "Trace", "select_restarts"]


def select_restarts(mixture: GaussianMixture, at: slice | list[int]) -> GaussianMixture:
    """Returns some of the mixtures in a batch of shape ``(S,)``."""
    return mixture.reindex(lambda t: t[at])


@dataclass(frozen=True)
class Trace:
    """What is known of a restart that goes on.

    Attributes:
        index: which one it is.
        history: the mean log-likelihood before each M-step. An entry may be one too many, of a
            step that was not ended.
        likelihood: the mean log-likelihood of the mixture that was last evaluated.
        objective: what is maximized, of the same.
        change: of the objective since the evaluation before that.
        verdict: that it has converged, once it has.
    """

    index: int
    history: list[float]
    likelihood: float = math.nan
    objective: float = -math.inf
    change: float = math.inf
    verdict: str = ""


@dataclass(frozen=True)
class Outcome:
    """A restart that has ended: as its trace, and what it came to."""

    index: int
    mixture: GaussianMixture
    history: list[float]
    likelihood: float
    objective: float
    converged: bool
    status: str

    def numbers(self) -> dict[str, Any]:
        """Returns what a result says of it in numbers, by name."""
        return {
            "n_iter": len(self.history),
            "log_likelihood": self.likelihood,
            "objective": self.objective,
            "converged": self.converged,
        }

    def is_better(self, other: Outcome | None) -> bool:
        """Whether it ended higher than another one, or as high and came first."""
        if other is None or self.objective > other.objective:
            return True
        return self.objective == other.objective and self.index < other.index


@dataclass(frozen=True)
class Stage:
    """Where a run stands; replaced as a whole, so that an interruption always finds it whole.

    Attributes:
        first_left: the first restart that was not begun.
        traces: of the restarts at work.
        mixture: theirs, after ``n_steps`` M-steps, batch shape ``(S,)``.
        evaluated: the last ones whose likelihood is known: these, or those a step before.
        n_steps: how many M-steps these restarts have taken.
        n_all_steps: how many steps were taken in all, those of restarts before included.
        best: of the restarts that have ended.
        likelihoods: where each restart ended; NaN until it has.
    """

    first_left: int
    traces: tuple[Trace, ...]
    mixture: GaussianMixture | None
    evaluated: GaussianMixture | None
    n_steps: int
    n_all_steps: int
    best: Outcome | None
    likelihoods: tuple[float, ...]

    @property
    def n_known_steps(self) -> int:
        """How many M-steps led to the mixtures whose likelihood is known."""
        return self.n_steps - (self.evaluated is not None and self.evaluated is not self.mixture)

    def ended(self, outcomes: list[Outcome]) -> Stage:
        """Returns the stage at which these restarts are no longer at work."""
        if not outcomes:
            return self
        best, likelihoods = self.best, list(self.likelihoods)
        for outcome in outcomes:
            likelihoods[outcome.index] = outcome.likelihood
            best = outcome if outcome.is_better(best) else best
        gone = {outcome.index for outcome in outcomes}
        left = [i for i, trace in enumerate(self.traces) if trace.index not in gone]
        mixture = _selected(self.mixture, left)
        is_evaluated = self.evaluated is self.mixture
        return replace(
            self,
            traces=tuple(self.traces[i] for i in left),
            mixture=mixture,
            evaluated=mixture if is_evaluated else _selected(self.evaluated, left),
            best=best,
            likelihoods=tuple(likelihoods),
        )

    def state(self) -> dict[str, Any]:
        """Returns tensors, numbers and strings from which :meth:`load` makes the stage."""
        state = vars(self) | {name: _unmade(getattr(self, name)) for name in _MIXTURES}
        state["traces"] = [asdict(trace) for trace in self.traces]
        if self.best is not None:
            state["best"] = vars(self.best) | {"mixture": _unmade(self.best.mixture)}
        return state

    @classmethod
    def load(cls, state: dict[str, Any], like: GaussianMixture) -> Stage:
        """Makes the stage of mixtures on the device of another one."""
        made = {name: _made(state[name], like) for name in _MIXTURES}
        traces, best = tuple(Trace(**trace) for trace in state["traces"]), state["best"]
        if best is not None:
            best = Outcome(**best | {"mixture": _made(best["mixture"], like)})
        return cls(**state | made | {"traces": traces, "best": best})


_MIXTURES = ("mixture", "evaluated")


def _selected(mixture: GaussianMixture | None, at: list[int]) -> GaussianMixture | None:
    return select_restarts(mixture, at) if mixture is not None and at else None


def _unmade(mixture: GaussianMixture | None) -> dict[str, Any] | None:
    if mixture is None:
        return None
    tensors = {name: t.clone() for name, t in mixture.tensors(computed=True).items()}
    return {"structure": mixture.covariance.name, "tensors": tensors}


def _made(state: dict[str, Any] | None, like: GaussianMixture) -> GaussianMixture | None:
    if state is None:
        return None
    tensors = {name: t.to(like.means.device) for name, t in state["tensors"].items()}
    return GaussianMixture.from_tensors(tensors, state["structure"], missing=like.missing)
