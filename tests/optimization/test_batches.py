import math

import pytest
import torch
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
)

from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.optimization.schedule import Schedule
from pyro_ugmm.training import fit_mle, fit_svi
from tests.models.mixtures import NOTHING, mixture, rows
from tests.models.networks import data, network

X, Y = data()
QUIET = {"progress": False, "seed": 0, "steps": 12}


def losses_of(x, y=None, **kwargs):
    return fit_mle(UGMMClassifier(network()), x, y, **QUIET, **kwargs).losses


def test_a_dataset_and_a_loader_are_as_good_as_tensors():
    expected = losses_of(X, Y)
    torch.testing.assert_close(losses_of(TensorDataset(X, Y)), expected)
    torch.testing.assert_close(losses_of(DataLoader(TensorDataset(X, Y), 40)), expected)
    # a pass over quarters in order is a pass over quarters, whoever cuts them
    quarters = losses_of(DataLoader(TensorDataset(X, Y), 10), learning_rate=1e-9)
    assert quarters[:4].mean().item() == pytest.approx(expected[0].item(), rel=1e-4)
    assert losses_of(TensorDataset(X, Y), batch_size=10).isfinite().all()


def test_a_loader_of_rows_without_labels():
    x = rows()
    losses = [fit_mle(mixture(**NOTHING), given, **QUIET).losses for given in (x, TensorDataset(x))]
    torch.testing.assert_close(*losses)


def test_a_loader_feeds_svi():
    model = UGMMClassifier(network(), Priors())
    loader = DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)
    result = fit_svi(model, mean_field(model), loader, steps=400, seed=0, progress=False)
    assert result.losses[-40:].mean() < 0.8 * result.losses[:40].mean()


def test_gradients_are_cut_to_a_norm():
    free = fit_mle(UGMMClassifier(network()), X, Y, **QUIET)
    cut = fit_mle(UGMMClassifier(network()), X, Y, max_gradient_norm=1e-12, **QUIET)
    # Adam's steps hardly depend on the gradients' length, but for its epsilon
    assert (free.losses[0] - free.losses[-1]) > 100 * (cut.losses[0] - cut.losses[-1]).abs()


def test_a_learning_rate_of_ones_own():
    rates = []
    losses_of(X, Y, learning_rate=lambda step: rates.append(step) or 1e-9)
    assert set(rates) == set(range(12))
    schedule = Schedule(100, 0.5)
    assert max(schedule.rate(step) for step in range(100)) == pytest.approx(0.5, rel=0.01)
    assert schedule.rate(70) == schedule.rate(99) == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("learning_rate", "got"),
    [
        (lambda step: math.nan if step == 11 else 0.1, "nan at step 11"),
        (lambda step: math.inf, "inf at step 0"),
        (lambda step: -0.1, "-0.1 at step 0"),
        (lambda step: "fast", "'fast' at step 0"),
    ],
)
def test_rates_are_checked_before_the_first_step(learning_rate, got):
    with pytest.raises(
        ValueError, match=f"learning_rate: expected non-negative numbers, got {got}"
    ):
        losses_of(X, Y, learning_rate=learning_rate)


def test_a_list_of_rates_has_as_many_as_steps():
    rates = [0.02] * 12
    torch.testing.assert_close(
        losses_of(X, Y, learning_rate=rates.__getitem__),
        losses_of(X, Y, learning_rate=lambda step: 0.02),
    )


def test_the_rows_that_a_sampler_takes_are_counted():
    data_set = TensorDataset(X, Y)
    few = losses_of(DataLoader(data_set, 10, sampler=SubsetRandomSampler(range(10))))
    torch.testing.assert_close(few, losses_of(X[:10], Y[:10]), rtol=1e-4, atol=1e-4)
    some = RandomSampler(data_set, num_samples=10)  # ten of all, others at each pass
    assert losses_of(DataLoader(data_set, 10, sampler=some))[0] > 3 * few[0]


def test_a_dataset_is_read_once_for_steps_of_all_rows():
    reads = []

    class Counted(TensorDataset):
        def __getitem__(self, i):
            reads.append(i)
            return super().__getitem__(i)

    losses_of(Counted(X, Y))
    assert len(reads) == len(X)


class _Stream(IterableDataset):
    def __len__(self):
        return len(X)

    def __iter__(self):
        yield from zip(X, Y, strict=True)


def test_a_stream_with_a_length_is_read_in_its_order():
    expected = losses_of(DataLoader(TensorDataset(X, Y), 10))
    torch.testing.assert_close(losses_of(_Stream(), batch_size=10), expected)


class _Endless(IterableDataset):
    def __iter__(self):
        yield X[0], Y[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses_of(TensorDataset(X, Y), Y), "y: expected labels within x"),
        (
            lambda: losses_of(DataLoader(TensorDataset(X, Y)), batch_size=3),
            "batch_size: expected None, as the DataLoader has its own, got 3",
        ),
        (lambda: losses_of(_Endless()), "x: expected a dataset with a length"),
        (lambda: losses_of(DataLoader(_Endless())), "x: expected a DataLoader of a dataset with a"),
        (lambda: losses_of(TensorDataset(X[:0], Y[:0])), "x: expected a dataset with at least one"),
        (lambda: losses_of(TensorDataset(X, X, Y)), "x: expected batches of a tensor, or of"),
        (lambda: losses_of(TensorDataset(X)), "y: expected labels, one for each row"),
        (lambda: losses_of(TensorDataset(X * math.nan, Y)), "x: expected finite values"),
        (lambda: losses_of([1, 2], Y), "x: expected shape"),
        (
            lambda: losses_of(X, Y, max_gradient_norm=0),
            "max_gradient_norm: expected a positive number, got 0",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
