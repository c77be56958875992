"""The rows that losses are scaled to are those that passes can reach."""

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.training import fit_mle, fit_svi

X = torch.randn(60, 1, generator=torch.Generator().manual_seed(0)) / 1000
DATA = TensorDataset(X)
QUIET = {"steps": 3, "learning_rate": 1e-9, "progress": False, "seed": 0}


class Own(Sampler):
    """A sampler of one's own, which draws some rows, or batches of them."""

    def __init__(self, drawn, length=None):
        self.drawn, self.length = drawn, len(drawn) if length is None else length

    def __iter__(self):
        yield from self.drawn

    def __len__(self):
        return self.length


class Unsized(Sampler):
    def __iter__(self):
        yield from range(60)


class Stream(IterableDataset):
    def __init__(self, length=None):
        self.length = length

    def __len__(self):
        if self.length is None:
            raise TypeError("no length")
        return self.length

    def __iter__(self):
        yield from X


class InBatches(Dataset):
    """A data set whose items are batches."""

    def __len__(self):
        return 6

    def __getitem__(self, i):
        return X[10 * i : 10 * i + 10]


def half_weighted():
    return WeightedRandomSampler(torch.arange(60) % 2 * 1.0, 12)


KNOWN = {
    "all": (lambda: DataLoader(DATA, 10), 60),
    "a short last batch": (lambda: DataLoader(DATA, 8), 60),
    "dropped, in order": (lambda: DataLoader(DATA, 25, drop_last=True), 50),
    "dropped, shuffled": (lambda: DataLoader(DATA, 25, drop_last=True, shuffle=True), 60),
    "few draws": (lambda: DataLoader(DATA, 5, sampler=RandomSampler(DATA, num_samples=10)), 60),
    "many draws": (
        lambda: DataLoader(DATA, 5, sampler=RandomSampler(DATA, True, num_samples=200)),
        60,
    ),
    "of a range": (lambda: DataLoader(DATA, 5, sampler=RandomSampler(range(20))), 20),
    "weighted": (lambda: DataLoader(DATA, 5, sampler=WeightedRandomSampler([1.0] * 60, 10)), 60),
    "weighted, often": (
        lambda: DataLoader(DATA, 5, sampler=WeightedRandomSampler([1.0] * 60, 600)),
        60,
    ),
    "weights of zero": (lambda: DataLoader(DATA, 5, sampler=half_weighted()), 30),
    "a subset": (lambda: DataLoader(DATA, 5, sampler=SubsetRandomSampler(range(20))), 20),
    "a repeated subset": (lambda: DataLoader(DATA, 2, sampler=SubsetRandomSampler([1, 2, 1])), 2),
    "a list": (lambda: DataLoader(DATA, 2, sampler=[3, 4, -57, 5]), 3),
    "sequential": (lambda: DataLoader(DATA, 5, sampler=SequentialSampler(range(30))), 30),
    "distributed": (lambda: DataLoader(DATA, 5, sampler=DistributedSampler(DATA, 4, 1)), 60),
    "batches of a sampler": (
        lambda: DataLoader(DATA, batch_sampler=BatchSampler(half_weighted(), 5, False)),
        30,
    ),
    "listed batches": (lambda: DataLoader(DATA, batch_sampler=[[0, 1], [1, 2], [3]]), 4),
    "batches asked for": (
        lambda: DataLoader(
            Bulk(), batch_size=None, sampler=BatchSampler(SequentialSampler(DATA), 10, False)
        ),
        60,
    ),
    "own, of the same length": (lambda: DataLoader(DATA, 5, sampler=Own([*range(60)])), 60),
    "a part of the data": (lambda: DataLoader(Subset(DATA, range(24)), 5), 24),
    "joined": (lambda: DataLoader(ConcatDataset([DATA, DATA]), 5), 120),
    "a stream": (lambda: DataLoader(Stream(60), 5), 60),
}


class Bulk(TensorDataset):
    """Asked for rows by a list of them."""

    def __init__(self):
        super().__init__(X)

    def __getitem__(self, index):
        return self.tensors[0][index]


UNKNOWN = {
    "own": lambda: DataLoader(DATA, 5, sampler=Own([*range(10)])),
    "own, longer": lambda: DataLoader(DATA, 5, sampler=Own([*range(60)] * 2)),
    "own batches": lambda: DataLoader(DATA, batch_sampler=Own([[0, 1], [2, 3]])),
    "no length": lambda: DataLoader(DATA, 5, sampler=Unsized()),
    "items are batches": lambda: DataLoader(InBatches(), batch_size=None),
}


def model():
    return BayesianGaussianMixture(
        1, 1, "diagonal", Priors(means=None, variances=None, correlations=None)
    )


def svi_model():
    return BayesianGaussianMixture(1, 1, "diagonal", Priors(variances=None))


def scale_of(loader, **kwargs):
    """By how many rows the loss of a step is more than that of a row, on average."""
    torch.manual_seed(0)
    fitted = model()
    loss = fit_mle(fitted, loader, **QUIET, **kwargs).losses.mean()
    row = -fitted.row_terms(X).mean().detach()
    return float(loss / row)


@pytest.mark.parametrize(("make", "n_rows"), KNOWN.values(), ids=KNOWN)
def test_losses_are_of_the_rows_that_passes_reach(make, n_rows):
    assert scale_of(make()) == pytest.approx(n_rows, rel=0.05)
    torch.manual_seed(0)
    fitted = svi_model()
    guide = mean_field(fitted, init_scale=1e-4)
    one = fit_svi(fitted, guide, make(), **QUIET).losses.mean()
    same = fit_svi(fitted, guide, X, size=120, **QUIET).losses.mean()
    other = fit_svi(fitted, guide, X, **QUIET).losses.mean()
    per_row = (same - other) / 60
    assert float(one - other) == pytest.approx(float(per_row) * (n_rows - 60), abs=5)


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_a_size_is_asked_for_where_there_is_no_telling(make):
    fitted = svi_model()
    for fit in (
        lambda **kwargs: fit_mle(model(), make(), **QUIET, **kwargs),
        lambda **kwargs: fit_svi(fitted, mean_field(fitted), make(), **QUIET, **kwargs),
    ):
        with pytest.raises(ValueError, match="size: expected the number of rows that passes reach"):
            fit()
        assert fit(size=40).n_steps == 3
    assert scale_of(make(), size=40) == pytest.approx(40, rel=0.05)


def test_a_size_scales_all_kinds_of_data():
    for x in (X, DATA, DataLoader(DATA, 10), DataLoader(Stream(), 10)):
        assert scale_of(x, size=6000) == pytest.approx(6000, rel=0.05)
    assert scale_of(DATA, size=6000, batch_size=20) == pytest.approx(6000, rel=0.05)


@pytest.mark.parametrize(
    ("x", "size", "message"),
    [
        (X, 59, "size: expected an integer of at least 60, got 59"),
        (X, 0, "size: expected an integer of at least 60, got 0"),
        (X, 60.5, "size: expected an integer"),
        (DataLoader(DATA, 10), True, "size: expected a positive integer, got True"),
        (DataLoader(DATA, 5, sampler=WeightedRandomSampler([0.0] * 60, 5)), None, "x: expected a"),
    ],
)
def test_bad_sizes(x, size, message):
    with pytest.raises(ValueError, match=message):
        fit_mle(model(), x, size=size, **QUIET)
