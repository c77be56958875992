"""Numbers of NumPy and torch are numbers, and leave no trace of their kind."""

import math

import numpy as np
import pytest
import torch

from pyro_ugmm.guides import low_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.training import fit_svi

X = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
WHOLE = [np.int64, np.uint8, np.array, torch.tensor]
REAL = [np.float64, np.float32, np.array, torch.tensor, lambda value: torch.tensor(value).double()]

ARGUMENTS = [
    *[
        (name, value, kind)
        for name, value in (
            ("steps", 4),
            ("batch_size", 10),
            ("size", 50),
            ("num_particles", 2),
            ("checkpoint_every", 2),
            ("seed", 3),
            ("rank", 1),
        )
        for kind in WHOLE
    ],
    *[
        (name, value, kind)
        for name, value in (
            ("learning_rate", 0.125),
            ("max_gradient_norm", 4.0),
            ("init_scale", 0.125),
            ("rates", 0.125),
        )
        for kind in REAL
    ],
]


def run(path, **kwargs):
    torch.manual_seed(0)
    model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(X))
    rank, scale = kwargs.pop("rank", None), kwargs.pop("init_scale", 0.05)
    make = mean_field if rank is None else lambda *a, **kw: low_rank(*a, rank=rank, **kw)
    guide = make(model, init_scale=scale)
    if "rates" in kwargs:
        rate = kwargs.pop("rates")
        kwargs["learning_rate"] = lambda step: rate
    kwargs = {"steps": 4, "seed": 0, "progress": False, "checkpoint": path} | kwargs
    return fit_svi(model, guide, X, **kwargs).losses


@pytest.mark.parametrize(("name", "value", "kind"), ARGUMENTS)
def test_a_number_of_any_kind_makes_a_checkpoint_that_can_be_read(name, value, kind, tmp_path):
    path = tmp_path / "run.pt"
    first = run(path, **{name: kind(value)})
    assert torch.load(path, weights_only=True)["state"]["losses"].shape == first.shape
    assert torch.equal(run(path, **{name: value}), first)  # it is the same run


@pytest.mark.parametrize(
    "name",
    ["steps", "batch_size", "size", "num_particles", "checkpoint_every", "seed", "rank"],
)
@pytest.mark.parametrize("value", [True, np.True_, 2.5, np.float64(4), "4", math.nan, [4], -1])
def test_what_is_no_whole_number_is_refused(name, value, tmp_path):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        run(tmp_path / "run.pt", **{name: value})


@pytest.mark.parametrize("name", ["learning_rate", "max_gradient_norm", "init_scale", "rates"])
@pytest.mark.parametrize(
    "value", [True, np.True_, "fast", math.nan, np.array([0.1]), -1.0, 1j, 10**400]
)
def test_what_is_no_positive_number_is_refused(name, value, tmp_path):
    with pytest.raises(ValueError, match=f"{name.replace('rates', 'learning_rate')}: expected"):
        run(tmp_path / "run.pt", **{name: value})
