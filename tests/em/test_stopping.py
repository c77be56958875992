"""Rules that say when EM stops."""

from dataclasses import dataclass

import pytest
import torch

from pyro_ugmm.em import EMFitter, StoppingRule, initialize
from pyro_ugmm.status import Status

from .cases import assert_same, clusters

X = clusters(90)
STARTS = initialize(X, 3, n_init=3, seed=0)


@dataclass(frozen=True)
class AfterSteps(StoppingRule):
    """One that knows nothing of ``tol``."""

    count: int

    def is_met(self, state):
        return [state.n_steps + 1 >= self.count] * len(state.change)

    def reason(self, state, at, objective):
        return f"enough: restart {at} has seen {self.count} steps"


def test_a_rule_of_ones_own_ends_a_fit():
    result = EMFitter(stopping=AfterSteps(4), progress=False).fit(X, STARTS)
    assert result.status is Status.CONVERGED and result.converged and result.n_iter == 4
    assert result.reason.startswith("enough: restart ")
    same = EMFitter(tol=0, max_iter=4, progress=False).fit(X, STARTS)
    assert same.status is Status.LIMIT_REACHED
    assert_same(result.mixture, same.mixture, rtol=1e-12)
    torch.testing.assert_close(result.restarts, same.restarts)


def test_a_rule_that_is_never_met_leaves_the_limit():
    result = EMFitter(stopping=AfterSteps(100), max_iter=3, progress=False).fit(X, STARTS)
    assert result.status is Status.LIMIT_REACHED and "max_iter=3" in result.reason


def test_a_checkpoint_is_of_one_rule(tmp_path):
    path = tmp_path / "fit"
    EMFitter(stopping=AfterSteps(4), progress=False).fit(X, STARTS, checkpoint=path)
    EMFitter(stopping=AfterSteps(4), progress=False).fit(X, STARTS, checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint: expected one of this run"):
        EMFitter(stopping=AfterSteps(5), progress=False).fit(X, STARTS, checkpoint=path)
