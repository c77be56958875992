"""A run that is taken up goes on along the same trajectory, or is refused."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    Sampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_mle, fit_svi

N = 48
X = torch.randn(N, 2, generator=torch.Generator().manual_seed(0))


class Augmented(Dataset):
    """Rows with noise that some generator draws."""

    def __init__(self, draw):
        self.draw = draw

    def __len__(self):
        return N

    def __getitem__(self, i):
        return X[i] + 0.1 * self.draw(), torch.tensor(i % 3)


def draw_by_numpy():
    return float(np.random.standard_normal())  # noqa: NPY002


def draw_by_torch():
    return float(torch.randn(()))


class OwnGenerator:
    def __init__(self):
        self.generator = np.random.default_rng(0)

    def __call__(self):
        return float(self.generator.standard_normal())


class InItsOrder(Sampler):
    """Rows in an order that it draws by a generator of its own."""

    def __init__(self, data, generator):
        self.data, self.own = data, generator

    def __len__(self):
        return len(self.data)

    def __iter__(self):
        if isinstance(self.own, torch.Generator):
            return iter(torch.randperm(len(self.data), generator=self.own).tolist())
        return iter(self.own.permutation(len(self.data)).tolist())


class Shifting:
    """Collates rows, and moves them by what a generator of its own draws."""

    def __init__(self):
        self.generator = np.random.default_rng(0)

    def __call__(self, rows):
        x, y = default_collate(rows)
        return x + float(self.generator.standard_normal()), y


DRAWS = [lambda: 0.0, draw_by_numpy, draw_by_torch, random.random]


def run(path, monkeypatch=None, stop=None, draw=DRAWS[0], seed=0, steps=22, **kwargs):
    """A run over a loader, cut off by an interrupt at some step."""
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    model = UGMMClassifier(UGMMNetwork([2, 3], dropout=0.3))
    data = Augmented(draw)
    if "sampler" in kwargs:
        kwargs["sampler"] = kwargs["sampler"](data)
    loader = DataLoader(data, 8, **({"shuffle": "sampler" not in kwargs} | kwargs))
    if stop is not None:
        original, calls = model.row_terms, []

        def interrupted(*rows):
            calls.append(1)
            if len(calls) > stop:
                raise KeyboardInterrupt
            return original(*rows)

        monkeypatch.setattr(model, "row_terms", interrupted)
    arguments = {"steps": steps, "checkpoint_every": 5, "progress": False, "seed": seed}
    return fit_mle(model, loader, checkpoint=path, **arguments).losses


@pytest.mark.parametrize("seed", [0, None])
@pytest.mark.parametrize("stop", [2, 13, 18])
@pytest.mark.parametrize("draw", DRAWS)
def test_augmentation_by_any_generator(draw, stop, seed, monkeypatch, tmp_path):
    path = tmp_path / "run.pt"
    assert len(run(path, monkeypatch, stop, draw, seed)) == stop
    assert torch.equal(run(path, draw=draw, seed=seed), run(None, draw=draw, seed=seed))


@pytest.mark.parametrize(
    "kwargs",
    [
        {"num_workers": 1},
        {"shuffle": False, "drop_last": True},
        {"sampler": lambda data: WeightedRandomSampler(torch.arange(48) + 1.0, 32)},
        {"sampler": lambda data: DistributedSampler(data, 2, 1)},
        {"generator": 7},
        {"sampler": lambda data: InItsOrder(data, torch.Generator().manual_seed(0))},
        {"sampler": lambda data: InItsOrder(data, np.random)},
    ],
)
@pytest.mark.parametrize("draw", [draw_by_numpy])
def test_loaders_of_any_kind(kwargs, draw, monkeypatch, tmp_path):
    def once(path, *args):
        own = dict(kwargs)
        if "generator" in own:
            own["generator"] = torch.Generator().manual_seed(own["generator"])
        return run(path, *args, draw=draw, **own)

    path = tmp_path / "run.pt"
    assert len(once(path, monkeypatch, 13)) == 13
    assert torch.equal(once(path), once(None))


def test_what_cannot_be_taken_up_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    with pytest.raises(ValueError, match="checkpoint: expected a DataLoader without persistent_wo"):
        run(path, num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match=r"checkpoint: expected rows that are drawn by torch's"):
        run(path, draw=OwnGenerator())
    held = DataLoader(TensorDataset(torch.randn(20, 2), torch.arange(20) % 3), 5)
    shifting = DataLoader(held.dataset, 5, collate_fn=Shifting())
    with pytest.raises(ValueError, match=r"checkpoint: expected rows that are drawn by torch's"):
        fit_mle(UGMMClassifier(UGMMNetwork([2, 3])), shifting, steps=2, checkpoint=path)
    with pytest.raises(ValueError, match=r"checkpoint: expected rows in an order of torch's"):
        run(path, sampler=lambda data: InItsOrder(data, np.random.default_rng(0)))
    fit_mle(UGMMClassifier(UGMMNetwork([2, 3])), held, steps=2, progress=False)
    assert not path.exists()


def test_looking_at_rows_for_a_checkpoint_leaves_the_generators_alone(tmp_path):
    for draw in DRAWS:
        with_file = run(tmp_path / f"{DRAWS.index(draw)}.pt", draw=draw, seed=None)
        assert torch.equal(with_file, run(None, draw=draw, seed=None))


def test_an_interrupted_run_goes_on_with_the_same_objects(monkeypatch, tmp_path):
    def made():
        torch.manual_seed(0)
        model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(X, weights=None))
        return model, mean_field(model)

    def fit(model, guide, path):
        arguments = {"steps": 30, "checkpoint_every": 7, "seed": 0, "progress": False}
        return fit_svi(model, guide, X, batch_size=10, checkpoint=path, **arguments)

    path, (model, guide) = tmp_path / "run.pt", made()
    original, calls = model.observation, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(model, "observation", interrupted)
        first = fit(model, guide, path)
    assert not first.converged and 0 < first.n_steps < 30
    assert torch.equal(fit(model, guide, path).losses, fit(*made(), None).losses)
