"""Another stopping rule is a class of its own."""

import torch

from pyro_ugmm.checkpoint import Checkpoint
from pyro_ugmm.optimization.descent import Descent
from pyro_ugmm.optimization.schedule import Schedule
from pyro_ugmm.optimization.stopping import StoppingRule, Verdict
from pyro_ugmm.sources.tensor_batches import TensorBatches
from pyro_ugmm.status import Status


class Enough(StoppingRule):
    """Ends a run once its loss is small enough; counts the steps that it saw."""

    def __init__(self, parameters, schedule):
        self.seen = 0

    def update(self, n_steps):
        self.seen += 1

    def is_met(self, losses):
        return bool(losses) and losses[-1] < 0.5

    def verdict(self, losses):
        if self.is_met(losses):
            return Verdict(Status.CONVERGED, "that is enough")
        return Verdict(Status.LIMIT_REACHED, f"not enough, seen {self.seen}")

    def state(self):
        return {"seen": self.seen}

    def load(self, state):
        self.seen = state["seen"]


def descend(steps, checkpoint=None):
    parameter = torch.nn.Parameter(torch.tensor([2.0]))
    batches = TensorBatches((torch.zeros(4, 1),), None, None)
    schedule = Schedule(steps, learning_rate=lambda step: 0.1, progress=False)

    def loss(rows):
        return (rows - parameter).square().mean()

    parts = loss, {"value": parameter}, batches, schedule, "a parabola", lambda rows: None, {}
    return Descent(*parts, rule=Enough).run(checkpoint)


def test_a_rule_ends_a_run():
    result = descend(100)
    assert result.converged and result.n_steps < 50
    assert result.reason == f"took {result.n_steps} steps; that is enough"


def test_a_rule_judges_a_run_that_took_all_steps():
    result = descend(3)
    assert result.status is Status.LIMIT_REACHED and "not enough, seen 3" in result.reason


def test_a_run_that_a_rule_ended_has_ended(tmp_path):
    first, again = (descend(100, Checkpoint(tmp_path / "run.pt", 10)) for _ in range(2))
    assert torch.equal(first.losses, again.losses) and first.reason == again.reason
