"""Another stopping rule is a class of its own."""

import pytest
import torch

from pyro_ugmm.checkpoint import Checkpoint
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import UGMMClassifier
from pyro_ugmm.optimization.descent import Descent
from pyro_ugmm.optimization.objective import Objective
from pyro_ugmm.optimization.schedule import Schedule
from pyro_ugmm.optimization.stopping import StoppingRule, Verdict
from pyro_ugmm.sources.tensor_batches import TensorBatches
from pyro_ugmm.status import Status
from pyro_ugmm.training import fit_mle, fit_svi
from tests.models.mixtures import mixture, rows
from tests.models.networks import data, network


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

    objective = Objective(loss, {"value": parameter}, "a parabola", lambda rows: None)
    return Descent(objective, batches, schedule, {}, Enough).run(checkpoint)


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


class Ten(Enough):
    def is_met(self, losses):
        return len(losses) == 10


def test_training_takes_a_rule(tmp_path):
    result = fit_mle(UGMMClassifier(network()), *data(), stopping=Ten, progress=False)
    assert result.converged and result.n_steps == 10
    model, options = mixture("diagonal"), {"seed": 0, "checkpoint": tmp_path / "run.pt"}
    guide = mean_field(model)
    assert fit_svi(model, guide, rows(), stopping=Ten, **options).n_steps == 10
    with pytest.raises(ValueError, match=r"checkpoint: .*stopping rule"):
        fit_svi(model, guide, rows(), **options)
    with pytest.raises(ValueError, match="stopping: expected the class of a rule"):
        fit_svi(model, guide, rows(), stopping=3)
