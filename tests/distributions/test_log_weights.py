"""Conditional mixtures far from all components keep what their weights say in logarithms."""

import copy
import pickle

import pytest
import torch

from pyro_ugmm.distributions import GaussianMixture
from tests.distributions.mixtures import by_structure, known

MEANS = [[-3.0, 0.0, 1.0], [3.0, 50.0, -40.0], [0.0, -60.0, 30.0]]
FAR = torch.tensor([400.0, -400.0, 4e4, 20.0])
REST = torch.tensor([[0.0, 1.0], [50.0, -40.0], [-60.0, 30.0], [10.0, 10.0]])


def a_mixture(structure, dtype):
    matrices = torch.eye(3).expand(3, 3, 3) * torch.tensor([1.0, 1.5, 1.2])[:, None, None]
    matrices = matrices + 0.3 * (torch.ones(3, 3) - torch.eye(3))
    return known([0.2, 0.3, 0.5], MEANS, matrices.numpy(), structure, dtype=dtype)[0]


def _stored(mixture, path):
    mixture.save(path / "mixture")
    return GaussianMixture.load(path / "mixture")


WAYS = {
    "as it is": lambda m, path: m,
    "file": _stored,
    "pickle": lambda m, path: pickle.loads(pickle.dumps(m)),
    "copy": lambda m, path: copy.deepcopy(m),
    "to": lambda m, path: m.to(torch.float64),
    "expand": lambda m, path: m.expand((1, *m.batch_shape)),
    "marginal": lambda m, path: m.marginal([0, 1]),
}


@by_structure
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parts_make_up_the_whole_far_away(structure, way, dtype, tmp_path):
    mixture = a_mixture(structure, dtype)
    a, rest = FAR.to(dtype)[:, None], REST.to(dtype)
    conditional = way(mixture.condition({0: a}), tmp_path)
    rest = rest.to(conditional.means.dtype)
    parts = mixture.marginal([0]).log_prob(a.unsqueeze(-1)) + conditional.log_prob(rest)
    x = torch.cat([a.unsqueeze(-1).expand(4, 4, 1), REST.to(dtype).expand(4, 4, 2)], -1)
    expected = mixture.to(torch.float64).log_prob(x.double())
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(parts.double().reshape(4, 4), expected, rtol=tolerance, atol=1e-3)
    shares = conditional.responsibilities(rest).double().reshape(4, 4, 3)
    whole = mixture.to(torch.float64).responsibilities(x.double())
    near = FAR < 1e4  # farther, float32 rounds what tells the components apart
    torch.testing.assert_close(shares[near], whole[near], rtol=0, atol=1e-2)


@by_structure
def test_conditions_of_conditions(structure):
    """One after the other is both at once."""
    mixture = a_mixture(structure, torch.float64)
    x, y = torch.tensor(400.0), torch.tensor([[50.0], [-60.0], [0.0]])
    x, y = x.double(), y.double()
    twice = mixture.condition({0: x}).condition({1: -40.0})
    once = mixture.condition({0: x, 2: -40.0})
    torch.testing.assert_close(twice.log_prob(y), once.log_prob(y))
    torch.testing.assert_close(twice.weights, once.weights)


@by_structure
def test_gradients_of_weights_that_underflow(structure):
    mixture = a_mixture(structure, torch.float64)
    x = torch.tensor(400.0, dtype=torch.float64, requires_grad=True)

    def log_prob(x):
        conditional = mixture.condition({0: x})
        return conditional.log_prob(torch.tensor([-60.0, 30.0], dtype=torch.float64))

    assert torch.autograd.gradcheck(log_prob, [x], eps=1e-3, atol=1e-2, rtol=1e-4)
