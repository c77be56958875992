"""Fingerprints are equal for what is equal, and differ for what differs."""

import dataclasses
import functools
import logging
import os
import random
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Distribution, Normal

from pyro_ugmm.fingerprints import fingerprint


def adding(number):
    def add(x, more=1):
        return x + number + more

    return add


class Held:
    """An object that holds itself, too."""

    def __init__(self, value):
        self.value, self.me = value, self

    def method(self):
        return self.value


@dataclasses.dataclass(slots=True)
class Slots:
    value: float


def looking_up(value):
    """A function that refers to a name outside, with the value that it has there."""
    namespace = {"PRIOR": value}
    exec("def model():\n    return PRIOR.log_prob", namespace)
    return namespace["model"]


def module_with(value):
    module = types.ModuleType("settings")
    module.log_prob = value
    return module


def class_with(**written):
    return type("Rule", (), written)


ONES = torch.ones(2, 3)

DIFFERENT = [
    lambda: 1,
    lambda: 1.0,
    lambda: True,
    lambda: "1",
    lambda: None,
    lambda: [1, 2],
    lambda: (1, 2),
    lambda: [[1], 2],
    lambda: {1, 2},
    lambda: {"a", "b", "c"},
    lambda: {1: 2},
    lambda: range(3),
    lambda: ONES.clone(),
    lambda: ONES.double(),
    lambda: ONES.clone().t(),
    lambda: ONES.new_zeros(2, 3),
    lambda: ONES.bfloat16(),
    lambda: torch.ones(()),
    lambda: torch.ones(0, 3),
    lambda: ONES.numpy(),
    lambda: np.ones((2, 3)),
    lambda: np.array([1, "a"], dtype=object),
    lambda: adding(1),
    lambda: adding(2),
    lambda: functools.partial(adding(1), more=2),
    lambda: functools.partial(adding(1), more=3),
    lambda: lambda x: x + 1,
    lambda: lambda x: x + 2,
    lambda: Held(1),
    lambda: Held(2),
    lambda: Held(1).method,
    lambda: Held,
    lambda: torch.sin,
    lambda: torch.cos,
    lambda: torch.Generator().manual_seed(1),
    lambda: torch.Generator().manual_seed(2),
    lambda: looking_up(ONES),
    lambda: looking_up(2 * ONES),
    lambda: looking_up(Normal(0.0, 1.0)),
    lambda: looking_up(Normal(0.0, 2.0)),
    lambda: looking_up(types.SimpleNamespace(scale=1)),
    lambda: looking_up(types.SimpleNamespace(scale=2)),
    lambda: looking_up(module_with(1)),
    lambda: looking_up(module_with(2)),
    lambda: looking_up(Path("here")),
    lambda: looking_up(Path("there")),
    lambda: class_with(a=1),
    lambda: class_with(a=2),
    lambda: class_with(b=2),
    lambda: class_with(a=ONES),
    lambda: class_with(a=property(lambda self: 1)),
    lambda: class_with(a=property(lambda self: 2)),
    lambda: class_with(a=staticmethod(lambda: 1)),
    lambda: class_with(a=staticmethod(lambda: 2)),
    lambda: class_with(a=classmethod(lambda kind: 1)),
    lambda: class_with(a=functools.cached_property(adding(1))),
    lambda: class_with(a=functools.cached_property(adding(2))),
    lambda: Slots(1.0),
    lambda: Slots(2.0),
    lambda: slice(1, 2),
    lambda: slice(1, 3),
    lambda: torch.float32,
    lambda: torch.float64,
    lambda: torch.device("cpu"),
    lambda: torch.device("meta"),
    lambda: b"1",
    lambda: b"2",
]


def asked_for_its_logits():
    weights = Categorical(probs=torch.tensor([0.2, 0.8]))
    assert len(weights.logits) == 2
    return weights


def test_fingerprints():
    found = [fingerprint(make()) for make in DIFFERENT]
    assert found == [fingerprint(make()) for make in DIFFERENT]
    assert len({*found}) == len(DIFFERENT)


@pytest.mark.parametrize(
    "tensor",
    [ONES[:, :1].expand(2, 3), ONES.t().contiguous().t(), ONES.clone().requires_grad_() * 1],
)
def test_how_a_tensor_is_stored_does_not_matter(tensor):
    assert fingerprint(tensor) == fingerprint(ONES)


def test_of_parameters_only_the_shape_counts():
    assert fingerprint(torch.nn.Parameter(ONES)) == fingerprint(torch.nn.Parameter(2 * ONES))


def test_of_what_a_distribution_keeps_nothing_counts():
    fresh = Categorical(probs=torch.tensor([0.2, 0.8]))
    assert fingerprint(fresh) == fingerprint(asked_for_its_logits())


def test_a_distribution_without_constraints_has_attributes():
    class Bare(Distribution):
        def __init__(self, value):
            self.value = value

    assert fingerprint(Bare(1)) == fingerprint(Bare(1)) != fingerprint(Bare(2))


def test_what_surrounds_a_function_does_not_count(monkeypatch):
    generator, logger = random.Random(0), logging.getLogger("here")
    functions = [looking_up(held) for held in (os.environ, generator, logger)]
    before = [*map(fingerprint, functions)]
    monkeypatch.setenv("SOMETHING", "else")
    monkeypatch.setattr(logger, "level", 10)
    generator.gauss(0, 1)
    assert [*map(fingerprint, functions)] == before
