"""What scikit-learn's ``verbose`` prints of a fit."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import check_integer
from .stopping import Ascent, Tolerance

__all__ = ["spoken"]


@dataclass(frozen=True)
class _SpokenTolerance(Tolerance):
    """The usual stopping rule, which prints where the steps are.

    Args:
        verbose: above one, the lower bound and its change, too.
        interval: the steps from one line to the next.
    """

    verbose: int
    interval: int

    def is_met(self, state: Ascent) -> list[bool]:
        """Whether the last step changed the objective by less."""
        if state.n_steps == 0:
            print(f"Initializations: {state.objective.numel()}")
        elif state.n_steps % self.interval == 0:
            bound, change = state.objective.max().item(), state.change.abs().max().item()
            figures = f"\t lower bound {bound:.5f}\t ll change {change:.5f}"
            print(f"  Iteration {state.n_steps}" + (figures if self.verbose > 1 else ""))
        return super().is_met(state)


def spoken(tol: float, verbose: Any, interval: Any) -> Tolerance | None:
    """Returns the rule that prints as scikit-learn's ``verbose`` and ``verbose_interval`` say."""
    is_flag = isinstance(verbose, bool | np.bool_)
    verbose = int(verbose) if is_flag else check_integer("verbose", verbose, minimum=0)
    interval = check_integer("verbose_interval", interval)
    return _SpokenTolerance(tol, verbose, interval) if verbose else None
