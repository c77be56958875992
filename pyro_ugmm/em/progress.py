"""How far the restarts of EM have come: what an interruption leaves, and a checkpoint holds."""

from dataclasses import dataclass, replace
from typing import Any, Self

from ..distributions import GaussianMixture
from .endings import Ending, Trace
from .state import EMState

__all__ = ["Progress"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Replaced as a whole, so that an interruption always finds it whole.

    Attributes:
        log_likelihoods: where each restart ended; NaN until it has.
        n_begun: how many restarts were begun.
        n_steps: how many steps were taken in all.
        at_work: the restarts that go on.
        state: theirs; ``None`` before their first E-step.
        best: of the restarts that have ended.
    """

    log_likelihoods: tuple[float, ...]
    n_begun: int = 0
    n_steps: int = 0
    at_work: tuple[Trace, ...] = ()
    state: EMState | None = None
    best: Ending | None = None

    @property
    def is_over(self) -> bool:
        """Whether all restarts have ended."""
        return not self.at_work and self.n_begun == len(self.log_likelihoods)

    def with_begun(self, most: int) -> Self:
        """Returns it with up to so many restarts more at work."""
        last = min(self.n_begun + most, len(self.log_likelihoods))
        begun = tuple(Trace(index, []) for index in range(self.n_begun, last))
        return replace(self, n_begun=last, at_work=begun, state=None)

    def with_ended(self, endings: list[Ending]) -> Self:
        """Returns it with these restarts no longer at work."""
        if not endings:
            return self
        best, likelihoods = self.best, list(self.log_likelihoods)
        for ending in endings:
            likelihoods[ending.index] = ending.log_likelihood
            best = ending if ending.is_better(best) else best
        gone = {ending.index for ending in endings}
        left = [i for i, trace in enumerate(self.at_work) if trace.index not in gone]
        return replace(
            self,
            at_work=tuple(self.at_work[i] for i in left),
            state=self.state.select(left) if left and self.state is not None else None,
            best=best,
            log_likelihoods=tuple(likelihoods),
        )

    def tensors(self) -> dict[str, Any]:
        """Returns tensors, numbers and strings by name, for :meth:`from_tensors`."""
        return vars(self) | {
            "at_work": [vars(trace) for trace in self.at_work],
            "state": None if self.state is None else self.state.tensors(),
            "best": None if self.best is None else self.best.tensors(),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Any], like: GaussianMixture) -> Self:
        """Takes what :meth:`tensors` gave, for mixtures of the same kind on their own device."""
        state, best = tensors["state"], tensors["best"]
        made = {
            "at_work": tuple(Trace(**trace) for trace in tensors["at_work"]),
            "state": None if state is None else EMState.from_tensors(state, like),
            "best": None if best is None else Ending.from_tensors(best, like),
        }
        return cls(**tensors | made)
