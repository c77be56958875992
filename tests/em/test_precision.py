"""EM in the precision of its numbers: within autocast, and on a device without doubles."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from pyro_ugmm import accumulation
from pyro_ugmm.distributions import GaussianMixture
from pyro_ugmm.em import ConjugatePrior, EMFitter, algorithm

from ..small_device import DEVICE, SmallDevice
from .cases import STRUCTURE_NAMES, assert_same, clusters, initialized

X = clusters(120, dtype=torch.float32)
WEIGHT = torch.linspace(0.5, 1.5, 120)
PRIOR = ConjugatePrior(X.mean(0), torch.cov(X.T), mean_strength=1, covariance_strength=3)
FITTER = EMFitter(tol=0, max_iter=5, progress=False)
WITH_HOLES = torch.where(torch.eye(3).bool().repeat(40, 1), torch.nan, X)[3:]


def start(structure, n_components=3, n_init=1):
    return initialized(X, n_components, structure, n_init=n_init, seed=0)


def lost(structure):
    """A start with a component far from all rows."""
    made = start(structure)
    means = made.means.clone()
    means[2] = 1e6
    return GaussianMixture(made.weights, means, made.covariance)


def stepped(fitter, x, mixture, weight=None):
    return fitter.m_step(fitter.e_step(x, mixture, weight))


def fitted(fitter, x, mixture, weight=None):
    return fitter.fit(x, mixture, weight).mixture


CALLS = {
    "fit": lambda s, f: (fitted, f, X, start(s), None),
    "fit, natural form": lambda s, f: (fitted, f, X, start(s, 12), None),
    "fit, weights": lambda s, f: (fitted, f, X, start(s), WEIGHT),
    "fit, restarts": lambda s, f: (fitted, f, X, start(s, n_init=3), None),
    "fit, stream": lambda s, f: (fitted, f, [X[:50], X[50:]], start(s), None),
    "fit, revival": lambda s, f: (fitted, f, X, lost(s), None),
    "step": lambda s, f: (stepped, f, X, start(s), WEIGHT),
}
each_call = pytest.mark.parametrize("call", CALLS)
each_structure = pytest.mark.parametrize("structure", STRUCTURE_NAMES)
each_fitter = pytest.mark.parametrize("prior", [None, PRIOR], ids=["no prior", "prior"])


@each_call
@each_structure
@each_fitter
def test_within_autocast(call, structure, prior):
    fitter = EMFitter(tol=0, max_iter=5, prior=prior, progress=False)
    function, *args = CALLS[call](structure, fitter)
    expected = function(*args)
    function, *args = CALLS[call](structure, fitter)  # of which nothing is kept
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixture = function(*args)
    assert_same(mixture, expected, rtol=0)
    torch.testing.assert_close(mixture.log_prob(X), expected.log_prob(X), rtol=0, atol=0)


@each_structure
def test_missing_entries_within_autocast(structure):
    made = initialized(WITH_HOLES, 3, structure, seed=0, missing="marginalize")
    expected = fitted(FITTER, WITH_HOLES, made)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(fitted(FITTER, WITH_HOLES, made), expected, rtol=0)


class Counted(TorchDispatchMode):
    """Refuses what makes double precision of single precision, but for what is allowed."""

    allowed = False
    make_double = staticmethod(accumulation.double)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        given, made = (
            [value.dtype for value in tree_iter(tree) if isinstance(value, torch.Tensor)]
            for tree in ((args, kwargs), result)
        )
        if torch.float32 in given and torch.float64 in made and not self.allowed:
            raise TypeError(f"{function}: this device has no float64")
        return result

    def double(self, tensor):
        self.allowed = True
        try:
            return self.make_double(tensor)
        finally:
            self.allowed = False


@pytest.mark.parametrize("call", [call for call in CALLS if "weights" not in call])
@each_structure
@each_fitter
def test_doubles_are_made_in_one_place(call, structure, prior, monkeypatch):
    fitter = EMFitter(tol=0, max_iter=5, prior=prior, progress=False, engine="torch")
    function, *args = CALLS[call](structure, fitter)
    args[-1] = None
    expected = function(*args)
    mode = Counted()
    monkeypatch.setattr(accumulation, "double_device", lambda _: torch.device("cpu:0"))
    for module in (accumulation, algorithm):
        monkeypatch.setattr(module, "double", mode.double)
    with mode:
        mixture = function(*args)
    if "restarts" in call:  # of two that end alike, rounding chooses
        found, wanted = (one.log_prob(X).mean() for one in (mixture, expected))
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    else:
        assert_same(mixture, expected, rtol=1e-3, atol=1e-3)


def test_a_total_on_a_device_without_doubles():
    blocks = torch.rand(3, 2, 5).split(1)
    with SmallDevice():
        total = accumulation.BlockSum(torch.zeros(1).to(DEVICE), 2)
        for (block,) in blocks:
            total.add(block.to(DEVICE))
        value = total.value()
    torch.testing.assert_close(value, torch.cat(blocks).double().sum((0, 2)), rtol=1e-6, atol=0)
