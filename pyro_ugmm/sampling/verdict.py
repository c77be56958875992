"""How a run of sampling ended, in words."""

import math
from collections.abc import Mapping

from ..status import Status
from .moved import Moved
from .smc import State
from .start import Lost

__all__ = ["verdict"]

_AGREEMENT = 1.05
_LEAST_ACCEPTANCE = 0.05
_MOST_EVIDENCE_SPREAD = 5.0  # nats


def verdict(
    state: State,
    r_hat: Mapping[str, float],
    interrupted: bool,
    lost: Lost | None = None,
    moved: Moved | None = None,
) -> tuple[Status, str]:
    """Returns how a run ended, and the same in words, with figures and the remedy.

    Args:
        state: at its end.
        r_hat: over populations, by quantity.
        interrupted: whether the keyboard ended it.
        lost: what of the prior or guide the numbers cannot hold.
        moved: how far quantities moved from the guide.
    """
    status, reason = _ending(state, r_hat, interrupted)
    lost = lost or Lost()
    if status is Status.CONVERGED and lost.is_missed:
        status = Status.LIMIT_REACHED
        reason = "the posterior was reached, but has mass where the numbers end"
    if not lost.is_little:
        reason += (
            f". There is no log_evidence: {lost.share:.0%} of the first draws of {lost.site} are "
            f"lost to {state.particles.position.dtype}, on the edge of the support or all the "
            "same; take float64, or another prior, such as one of its logarithm or logit"
        )
    return status, reason if moved is None else f"{reason}; {moved.sentence}"


def _ending(state: State, r_hat: Mapping[str, float], interrupted: bool) -> tuple[Status, str]:
    at = f"at temperature {state.temperature:.2g}"
    if not state.is_sound:
        return Status.BROKEN_DOWN, (
            f"stopped {at}: no particle of a population has a likelihood that is a positive "
            "number; check the data and the priors, standardize the features, raise "
            "num_particles, or start from a guide"
        )
    if interrupted or state.temperature < 1:
        status = Status.INTERRUPTED if interrupted else Status.LIMIT_REACHED
        done = "interrupted" if interrupted else f"stopped after {len(state.rungs)} temperatures"
        return status, (
            f"{done} {at}, short of the posterior, which is at one: the draws are wider than it; "
            "run again, with more particles, or from a guide; with the same checkpoint, a run that "
            "was interrupted goes on"
        )
    acceptance = state.rungs[-1].acceptance
    if acceptance < _LEAST_ACCEPTANCE:
        return Status.LIMIT_REACHED, (
            f"the posterior was reached, but the particles hardly moved there (acceptance "
            f"{acceptance:.3f}), and their agreement says nothing; raise most_moves, start from "
            "the prior or another guide, or, if they collapsed to a point, as where a scale can be "
            "zero, take a prior that keeps them from there"
        )
    worst = max(r_hat, key=lambda name: math.inf if math.isnan(r_hat[name]) else r_hat[name])
    said = f"R-hat over {len(state.log_evidence)} populations is at most {r_hat[worst]:.3f}"
    if len(state.log_evidence) < 2:
        return Status.LIMIT_REACHED, (
            "the posterior was reached by one population, of which nothing can be compared; take "
            "several, by num_populations"
        )
    if not r_hat[worst] <= _AGREEMENT:
        return Status.LIMIT_REACHED, (
            f"the posterior was reached, but the populations disagree: {said}, of {worst}, more "
            f"than {_AGREEMENT}; raise num_particles, or most_moves"
        )
    reason = f"converged: the posterior was reached, and {said}"
    spread = float(state.log_evidence.max() - state.log_evidence.min())
    if spread > _MOST_EVIDENCE_SPREAD:
        reason += (
            f"; of the evidence they say little, as their logarithms of it differ by {spread:.1f}: "
            "raise num_particles before models are compared by it"
        )
    return Status.CONVERGED, reason
