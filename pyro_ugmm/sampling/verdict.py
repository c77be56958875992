"""How a run of sampling ended, in words."""

import math
from collections.abc import Mapping

from ..status import Status
from .smc import State

__all__ = ["verdict"]

_AGREEMENT = 1.05
_LEAST_ACCEPTANCE = 0.05


def verdict(state: State, r_hat: Mapping[str, float], interrupted: bool) -> tuple[Status, str]:
    """Returns how a run ended, and the same in words, with figures and the remedy."""
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
            "run again, with more particles, or from a guide"
        )
    acceptance = state.rungs[-1].acceptance
    if acceptance < _LEAST_ACCEPTANCE:
        return Status.LIMIT_REACHED, (
            f"the posterior was reached, but the particles hardly moved there (acceptance "
            f"{acceptance:.3f}), and their agreement says nothing; raise most_moves, or start from "
            "the prior or another guide"
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
    return Status.CONVERGED, f"converged: the posterior was reached, and {said}"
