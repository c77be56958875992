"""Steps of EM by torch's operations: for all data, devices, structures and priors."""

from collections.abc import Sequence
from typing import ClassVar

from ..distributions import GaussianMixture
from ..status import Status
from .algorithm import EMAlgorithm
from .carried_bounds import CarriedBounds
from .endings import Ending, Trace, endings_of_step, limit_reached
from .recovery import Recovery
from .rows import Rows
from .state import EMState
from .stopping import StoppingRule

__all__ = ["TorchSteps"]


class TorchSteps:
    """Takes steps from mixtures of a batch at once, one step at a time.

    Args:
        algorithm: the steps.
        stopping: says when one more step is the last.
        max_iter: the most steps.
        rows: the data.
        recovery: what keeps the mixtures alive.
    """

    name: ClassVar[str] = "torch"

    def __init__(
        self,
        algorithm: EMAlgorithm,
        stopping: StoppingRule,
        max_iter: int,
        rows: Rows,
        recovery: Recovery,
    ) -> None:
        self.algorithm, self.stopping, self.max_iter = algorithm, stopping, max_iter
        self.rows, self.recovery = rows, recovery
        self._bounds = CarriedBounds.of(rows)

    def forget_bounds(self) -> None:
        """Goes on as steps do that begin here, to the last digit."""
        self._bounds = CarriedBounds.of(self.rows)

    def start(self, starts: GaussianMixture) -> EMState:
        """Returns the state at starts of batch shape ``(S,)``."""
        self.forget_bounds()
        return self.algorithm.e_step(starts, self.rows, bounds=self._bounds)

    def advance(
        self, at_work: Sequence[Trace], before: EMState, most: int
    ) -> tuple[EMState, list[Ending]]:
        """Returns the state after up to ``most`` steps, and the restarts that ended in them."""
        n_steps = before.n_steps + 1
        mixture, singular = self.algorithm.m_step(before)
        mixture, revived, broken = self.recovery.apply(
            [trace.index for trace in at_work],
            before,
            mixture,
            singular,
            may_revive=n_steps < self.max_iter,
        )
        met = self.stopping.is_met(before)
        converged = [a and not b for a, b in zip(met, revived, strict=True)]
        is_last = n_steps == self.max_iter or all(converged)
        after = self.algorithm.e_step(
            mixture, self.rows, before, is_last=is_last, bounds=self._bounds
        )
        for trace, likelihood in zip(at_work, before.log_likelihood.tolist(), strict=True):
            trace.history[before.n_steps :] = [likelihood]
        reasons = [self.reason(i, before, after, ends) for i, ends in enumerate(converged)]
        return after, endings_of_step(at_work, before, after, broken, reasons)

    def reason(
        self, i: int, before: EMState, after: EMState, converged: bool
    ) -> tuple[Status, str] | None:
        """Says why a restart ends with a step, if it does."""
        objective = self.algorithm.objective
        if converged:
            return Status.CONVERGED, self.stopping.reason(before, i, objective)
        if after.n_steps == self.max_iter:
            return Status.LIMIT_REACHED, limit_reached(
                after.change[i].item(), after.n_steps, objective
            )
        return None
