"""A checkpoint is of one run: every other is refused, in words that say what differs."""

import functools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from pyro_ugmm.guides import low_rank, mean_field
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_mle, fit_svi

N = 200
X = torch.randn(N, 2, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 3


def changed(tensor, row, by=1):
    found = tensor.clone()
    found[row] = (found[row] + by) % 3
    return found


def make_network(seed=0, **kwargs):
    torch.manual_seed(seed)
    return UGMMNetwork([2, 4, 3], **kwargs)


def frozen(*layers):
    network = make_network()
    for i in layers:
        network.layers[i].requires_grad_(False)
    return network


def frozen_elsewhere(value):
    network = frozen(0)
    network.layers[0].logits = network.layers[0].logits.detach() + value
    return network


def of_units(factor):
    """A network whose hidden priors are in other units."""
    network = make_network()
    network.layers[1].input_spread.mul_(factor)
    return network


class Rows(Dataset):
    """A data set of one's own."""

    def __init__(self, x=X, y=Y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def loader(x=X, y=Y, size=20, own=True, seed=5, **kwargs):
    data = (Rows if own else TensorDataset)(x, y)
    kwargs = {"shuffle": True, "generator": torch.Generator().manual_seed(seed)} | kwargs
    if callable(kwargs.get("sampler")):
        kwargs = {"sampler": kwargs["sampler"](data)}
    return DataLoader(data, size, **kwargs)


def mle(path, network=make_network, x=X, y=Y, **kwargs):
    if callable(x):
        x, y = x(), None
    kwargs = {"steps": 3, "seed": 0, "progress": False, "checkpoint": path} | kwargs
    return fit_mle(UGMMClassifier(network()), x, y, **kwargs).losses


OTHERS_MLE = [
    ({"learning_rate": [0.1, 0.2, 0.3].__getitem__}, {"learning_rate": [0.3, 0.2, 0.1].__getitem__},
     "learning rates"),
    ({}, {"learning_rate": 0.03}, "learning rates"),
    ({}, {"steps": 4}, "steps"),
    ({}, {"seed": 1}, "seed"),
    ({}, {"max_gradient_norm": 1.0}, "max_gradient_norm"),
    ({}, {"batch_size": 50}, "data"),
    ({}, {"size": 2 * N}, "data"),
    ({}, {"x": changed(X, 150)}, "data"),
    ({}, {"y": changed(Y, 150)}, "data"),
    ({}, {"network": lambda: make_network(1)}, "start of the model"),
    ({}, {"network": lambda: make_network(dropout=0.1)}, "model"),
    ({}, {"network": lambda: make_network(missing="omit")}, "model"),
    ({"network": lambda: frozen(0)}, {"network": lambda: frozen(1)}, "frozen parameters"),
    ({"network": lambda: frozen(0)}, {"network": make_network}, "frozen parameters"),
    ({"network": lambda: frozen_elsewhere(0)},
     {"network": lambda: frozen_elsewhere(torch.tensor([0.0, 1.0]))}, "start of the model"),
    *(
        ({"x": lambda own=own: loader(own=own)},
         {"x": lambda own=own, kw=kw: loader(own=own, **kw)}, "data")
        for own in (True, False)
        for kw in (
            {"x": changed(X, 150)},
            {"x": changed(X, 199)},
            {"y": changed(Y, 151)},
            {"size": 40},
            {"shuffle": False},
            {"drop_last": True},
            {"seed": 6},
            {"generator": None},
            {"sampler": lambda data: RandomSampler(data)},
            {"sampler": lambda data: RandomSampler(data, num_samples=100)},
            {"sampler": lambda data: SubsetRandomSampler(range(N))},
            {"sampler": lambda data: WeightedRandomSampler([1.0] * N, N)},
        )
    ),
    ({"x": lambda: loader(sampler=lambda data: WeightedRandomSampler([1.0] * N, N))},
     {"x": lambda: loader(sampler=lambda data: WeightedRandomSampler([1.0, 2.0] * 100, N))},
     "data"),
    ({"x": lambda: loader(sampler=lambda data: SubsetRandomSampler(range(100)))},
     {"x": lambda: loader(sampler=lambda data: SubsetRandomSampler(range(1, 101)))}, "data"),
    ({"x": lambda: Rows()}, {"x": lambda: Rows(changed(X, 150))}, "data"),
]  # fmt: skip


def guide_of(power, helper=None):
    def guide(x, y=None, size=None):
        for i, shape in enumerate([(4, 2), (3, 4)]):
            loc = pyro.param(f"loc{i}", torch.zeros(shape))
            value = loc**power if helper is None else helper(loc)
            pyro.sample(f"layers.{i}.loc", dist.Normal(value, 0.1).to_event(2))

    return guide


def other_code(x, y=None, size=None):
    for i, shape in enumerate([(4, 2), (3, 4)]):
        loc = pyro.param(f"loc{i}", torch.zeros(shape))
        pyro.sample(f"layers.{i}.loc", dist.Normal(loc, 0.2).to_event(2))


class ModuleGuide(torch.nn.Module):
    def __init__(self, scale, start=0.0):
        super().__init__()
        self.scale = scale
        self.loc0 = torch.nn.Parameter(torch.full((4, 2), start))
        self.loc1 = torch.nn.Parameter(torch.full((3, 4), start))

    def forward(self, x, y=None, size=None):
        for i, loc in enumerate((self.loc0, self.loc1)):
            pyro.sample(f"layers.{i}.loc", dist.Normal(loc, self.scale).to_event(2))


class Peaked(dist.Normal):
    """A prior of one's own."""

    def log_prob(self, value):
        return 2 * super().log_prob(value)


def priors(means=None, **kwargs):
    return Priors(means=dist.Normal(0.0, 2.0) if means is None else means, variances=None, **kwargs)


def svi(path, guide=mean_field, priors=priors, network=make_network, x=X, y=Y, **kwargs):
    model = UGMMClassifier(network(), priors())
    made = guide(model) if guide in (mean_field, low_rank) or hasattr(guide, "of") else guide
    kwargs = {"steps": 3, "seed": 0, "progress": False, "checkpoint": path} | kwargs
    return fit_svi(model, made, x, y, **kwargs).losses


def start(**kwargs):
    def make(model):
        return mean_field(model, **kwargs)

    make.of = True
    return make


def constant_of(value):
    class Guide(ModuleGuide):
        def forward(self, x, y=None, size=None):
            self.scale = value
            return super().forward(x, y, size)

    Guide.__qualname__ = "Guide"
    return Guide(0.1)


class Holding(ModuleGuide):
    """A guide whose scale is within something that it holds."""

    def __init__(self, held, scale_of):
        super().__init__(0.0)
        self._held, self.scale_of = held, scale_of

    def forward(self, x, y=None, size=None):
        for i, loc in enumerate((self.loc0, self.loc1)):
            scale = self.scale_of(self._held)
            pyro.sample(f"layers.{i}.loc", dist.Normal(loc, scale).to_event(2))


def first(held):
    return held[0]


def called(held):
    return held()


class OwnModel(UGMMClassifier):
    """A model with something of its own."""

    temperature = 1.0

    def scores(self, x, draws=None):
        return super().scores(x, draws) / self.temperature


def svi_of_own_model(path, temperature):
    model = OwnModel(make_network(), priors())
    model.temperature = temperature
    arguments = {"steps": 3, "seed": 0, "progress": False, "checkpoint": path}
    return fit_svi(model, mean_field(model), X, Y, **arguments).losses


HELD = [
    (first, [0.1], [0.2]),
    (first, {0: 0.1}, {0: 0.2}),
    (first, torch.tensor([0.1]), torch.tensor([0.2])),
    (first, np.array([0.1]), np.array([0.2])),
    (called, lambda: 0.1, lambda: 0.2),
    (called, functools.partial(float, "0.1"), functools.partial(float, "0.2")),
]
OTHERS_SVI = [
    *(({"guide": Holding(a, f)}, {"guide": Holding(b, f)}, "guide") for f, a, b in HELD),
    ({}, {"guide": low_rank}, "parameters"),
    ({}, {"guide": start(init_scale=0.1)}, "start of the guide"),
    ({}, {"guide": start(start=make_network(3))}, "start of the"),
    ({}, {"num_particles": 2}, "num_particles"),
    ({}, {"priors": lambda: priors(dist.Normal(0.0, 3.0))}, "priors"),
    ({}, {"priors": lambda: priors(Peaked(0.0, 2.0))}, "priors"),
    ({}, {"priors": lambda: priors(weights=1.0)}, "parameters"),
    ({}, {"priors": lambda: priors(center=torch.tensor(0.1))}, "priors"),
    ({}, {"network": lambda: of_units(1.001)}, "priors"),
    ({}, {"x": changed(X, 150)}, "data"),
    ({"guide": guide_of(1)}, {"guide": guide_of(2)}, "guide"),
    ({"guide": guide_of(1)}, {"guide": other_code}, "guide"),
    ({"guide": guide_of(1, torch.sin)}, {"guide": guide_of(1, torch.cos)}, "guide"),
    ({"guide": guide_of(1, lambda t: t * 2)}, {"guide": guide_of(1, lambda t: t * 3)}, "guide"),
    ({"guide": ModuleGuide(0.1)}, {"guide": ModuleGuide(0.2)}, "guide"),
    ({"guide": ModuleGuide(0.1)}, {"guide": ModuleGuide(0.1, 1.0)}, "start of the guide"),
    ({"guide": constant_of(0.1)}, {"guide": constant_of(0.2)}, "guide"),
]


@pytest.mark.parametrize(
    ("fit", "one", "other", "what"),
    [(mle, *case) for case in OTHERS_MLE]
    + [(svi, *case) for case in OTHERS_SVI]
    + [(svi_of_own_model, {"temperature": 1.0}, {"temperature": 2.0}, "model")],
)
def test_another_run_is_refused_in_words(fit, one, other, what, tmp_path):
    path = tmp_path / "run.pt"
    losses = fit(path, **one)
    whole = path.read_bytes()
    with pytest.raises(
        ValueError,
        match=rf"checkpoint: expected one of this run, whose (.*; )?{what}[a-z ]* is .*, got",
    ):
        fit(path, **other)
    assert path.read_bytes() == whole
    assert torch.equal(fit(path, **one), losses)  # its own run is taken up


def test_a_run_that_ended_returns_its_outcome_to_the_same_objects(tmp_path):
    path, model = tmp_path / "run.pt", UGMMClassifier(make_network(), priors())
    for guide in (mean_field(model), guide_of(1)):
        path.unlink(missing_ok=True)
        arguments = {"steps": 20, "progress": False, "seed": 0, "checkpoint": path}
        first = fit_svi(model, guide, X, Y, **arguments)
        again = fit_svi(model, guide, X, Y, **arguments)
        assert torch.equal(first.losses, again.losses)
    plain = UGMMClassifier(make_network())
    runs = [fit_mle(plain, X, Y, **arguments | {"checkpoint": tmp_path / "b"}) for _ in range(3)]
    assert torch.equal(runs[0].losses, runs[2].losses)
