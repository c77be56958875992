"""What is kept of the parameters is of the numbers that these hold now."""

import copy
import pickle

import numpy as np
import pytest
import torch

from pyro_ugmm.distributions import FullCovariance, GaussianMixture, TiedCovariance
from pyro_ugmm.kept import Kept
from tests.distributions.mixtures import by_structure, parameters, random_mixture, rebuilt, rows


def _through_numpy(tensor, new):
    tensor.numpy()[...] = new.numpy()


def _as_a_vector(tensor, new):
    torch.nn.utils.vector_to_parameters(new.reshape(-1), [tensor])


def _by_an_optimizer(tensor, new):
    tensor.grad = tensor.detach() - new
    torch.optim.SGD([tensor], lr=1.0).step()
    tensor.grad = None


def _new_storage(tensor, new):
    tensor.data = new.clone()


def _in_place(tensor, new):
    tensor.data[:] = new


def _multiplied(tensor, new):
    tensor.data.mul_(new / tensor)


CHANGES = {
    "data": _new_storage,
    "data[:]": _in_place,
    "data.mul_": _multiplied,
    "copy_": lambda tensor, new: tensor.copy_(new),
    "set_": lambda tensor, new: tensor.set_(new.clone()),
    "NumPy": _through_numpy,
    "vector_to_parameters": _as_a_vector,
    "optimizer": _by_an_optimizer,
}


@by_structure
@pytest.mark.parametrize("n_components", [3, 12])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_changed_parameter_counts(structure, n_components, change, which):
    weights, means, *values = (
        t.clone() for t in parameters(random_mixture(structure, n_components)[0])
    )
    mixture = rebuilt(structure, weights, means, *values)
    other, _ = random_mixture(structure, n_components, seed=1)
    x = rows(10, 2)
    wide = mixture.expand((2,))
    methods = ("log_prob", "responsibilities", "predict")
    for method in methods:
        getattr(mixture, method)(x)
    with torch.no_grad():
        changed = (weights, means, *mixture.covariance.tensors().values())[which]
        change(changed, parameters(other)[which].clone())
    torch.testing.assert_close(parameters(mixture)[which], parameters(other)[which])
    expected = rebuilt(structure, *parameters(mixture))
    for method in methods:
        torch.testing.assert_close(getattr(mixture, method)(x), getattr(expected, method)(x))
        found = getattr(wide, method)(x.unsqueeze(1))[:, 1]
        torch.testing.assert_close(found, getattr(expected, method)(x))
    torch.manual_seed(0)
    drawn = mixture.sample((5,))
    torch.manual_seed(0)
    torch.testing.assert_close(drawn, expected.sample((5,)))


@pytest.mark.parametrize("structure", ["full", "tied"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("given", [False, True])
def test_factors_of_changed_matrices(structure, change, given):
    covariance = random_mixture(structure)[0].covariance
    if given:
        covariance = type(covariance).from_factor(covariance.factor)
    assert covariance.factor.isfinite().all() and covariance.inverse_factor.isfinite().all()
    new = random_mixture(structure, seed=1)[0].covariance.values
    with torch.no_grad():
        change(covariance.values, new)
    expected = type(covariance)(new)
    torch.testing.assert_close(covariance.factor, expected.factor)
    torch.testing.assert_close(covariance.inverse_factor, expected.inverse_factor)
    torch.testing.assert_close(covariance.reindex(copied).factor, expected.factor)


def copied(tensor):
    return tensor.clone()


@pytest.mark.parametrize("change", ["dtype", "shape"])
def test_tensors_of_another_kind_count_as_changed(change):
    kept, tensor = Kept(), torch.ones(2)
    kept.keep("a", [tensor], 1)
    assert kept.find("a", [tensor]) == 1
    other = tensor.double() if change == "dtype" else tensor.unsqueeze(0)
    assert kept.find("a", [other]) is None
    tensor.data = other
    assert kept.find("a", [tensor]) is None and kept.find("a", []) is None


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -0.0])
def test_what_is_no_usual_number_is_kept_as_well(value):
    kept, tensor = Kept(), torch.tensor([1.0, value])
    kept.keep("a", [tensor], 1)
    assert kept.find("a", [tensor]) == 1
    tensor[0] = torch.nan
    assert kept.find("a", [tensor]) is None


@pytest.mark.parametrize("structure", [FullCovariance, TiedCovariance])
def test_a_factor_of_nan_is_a_result_and_no_error(structure):
    factor = torch.eye(2).expand(3, 2, 2) if structure is FullCovariance else torch.eye(2)
    covariance = structure.from_factor(factor * torch.nan)
    mixture = GaussianMixture(torch.ones(3) / 3, torch.zeros(3, 2), covariance, validate_args=False)
    assert mixture.log_prob(torch.zeros(5, 2)).isnan().all()


def test_nothing_is_computed_twice_without_need():
    kept, tensor, calls = Kept(), torch.ones(2), []
    for _ in range(3):
        kept.get("a", [tensor], lambda: calls.append("a") or 1)
        kept.get("b", [tensor], lambda: calls.append("b") or 2)
    tensor.data += 1
    kept.get("a", [tensor], lambda: calls.append("a") or 1)
    assert calls == ["a", "b", "a"]


@by_structure
def test_copies_keep_nothing(structure):
    mixture, truth = random_mixture(structure)
    x = rows(5, 2)
    mixture.log_prob(x)
    for other in (copy.deepcopy(mixture), pickle.loads(pickle.dumps(mixture))):
        np.testing.assert_allclose(other.log_prob(x), truth.log_prob(x))
        other.means.data.add_(1)
        torch.testing.assert_close(other.log_prob(x + 1), mixture.log_prob(x))
