"""Fingerprints are equal for what is equal, and differ for what differs."""

import functools

import numpy as np
import pytest
import torch

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
]


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
