"""Runs in threads equal those one after the other, and leave the caller's generators alone."""

import random
import sys
from concurrent.futures import ThreadPoolExecutor

import pyro
import pytest
import torch
from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK
from torch.utils.data import DataLoader, TensorDataset

from pyro_ugmm.guides import low_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.training import fit_mle, fit_svi

X = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
Y = torch.arange(30) % 3
N_RUNS = 8


def network_model(priors=None):
    return UGMMClassifier(UGMMNetwork([2, 4, 3], dropout=0.3), priors)


def mle(model, seed, **kwargs):
    return fit_mle(model, X, Y, steps=15, batch_size=10, seed=seed, progress=False, **kwargs)


def mle_of_a_loader(model, seed):
    loader = DataLoader(TensorDataset(X, Y), 10, shuffle=True)
    return fit_mle(model, loader, steps=15, seed=seed, progress=False)


def svi(model, seed):
    guide = mean_field(model)
    return fit_svi(model, guide, X, Y, steps=8, batch_size=10, seed=seed, progress=False)


def svi_of_a_mixture(model, seed):
    return fit_svi(model, low_rank(model), X, steps=8, seed=seed, progress=False)


KINDS = {
    "mle": (mle, network_model),
    "mle of a loader": (mle_of_a_loader, network_model),
    "svi": (svi, lambda: network_model(Priors())),
    "svi of a mixture": (
        svi_of_a_mixture,
        lambda: BayesianGaussianMixture(2, 2, priors=Priors.from_data(X, weights=None)),
    ),
}


def runs(fit, make, seeds, n_threads):
    models = []
    for number in range(N_RUNS):
        torch.manual_seed(number)
        models.append(make())
    before = torch.get_rng_state()
    with ThreadPoolExecutor(n_threads) as pool:
        found = [*pool.map(fit, models, seeds)]
    assert seeds[0] is None or torch.equal(torch.get_rng_state(), before)
    assert not _PYRO_STACK and not _DIM_ALLOCATOR._stack and not list(pyro.get_param_store())
    return [result.losses for result in found]


@pytest.mark.parametrize(("fit", "make"), KINDS.values(), ids=KINDS)
def test_seeded_runs_in_threads_equal_those_one_by_one(fit, make):
    expected, found = (runs(fit, make, [*range(N_RUNS)], threads) for threads in (1, 4))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize(("fit", "make"), KINDS.values(), ids=KINDS)
def test_runs_without_a_seed_in_threads(fit, make):
    found = runs(fit, make, [None] * N_RUNS, 4)
    assert all(losses.isfinite().all() for losses in found)


def test_runs_of_any_kinds_at_once(attacks):
    """In an order that is drawn, where threads are switched as often as is drawn."""
    interval = sys.getswitchinterval()
    for number in attacks(1):
        choose = random.Random(number)
        drawn = [KINDS[choose.choice([*KINDS])] for _ in range(N_RUNS)]
        found = []
        for n_threads in (1, choose.randrange(2, 6)):
            torch.manual_seed(number)
            models = [make() for _, make in drawn]
            sys.setswitchinterval(10 ** choose.uniform(-6, -2))
            with ThreadPoolExecutor(n_threads) as pool:
                tasks = [
                    pool.submit(fit, model, seed)
                    for seed, ((fit, _), model) in enumerate(zip(drawn, models, strict=True))
                ]
                found.append([task.result().losses for task in tasks])
            sys.setswitchinterval(interval)
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
        assert not _PYRO_STACK and not _DIM_ALLOCATOR._stack and not list(pyro.get_param_store())


def test_runs_of_both_kinds_at_once():
    def fit(number):
        return (mle, svi)[number % 2](models[number], number)

    torch.manual_seed(0)
    models = [network_model(Priors() if number % 2 else None) for number in range(N_RUNS)]
    copies = [network_model(Priors() if number % 2 else None) for number in range(N_RUNS)]
    for model, copy in zip(models, copies, strict=True):
        copy.load_state_dict(model.state_dict())
    with ThreadPoolExecutor(4) as pool:
        found = [result.losses for result in pool.map(fit, range(N_RUNS))]
    models = copies
    expected = [fit(number).losses for number in range(N_RUNS)]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
