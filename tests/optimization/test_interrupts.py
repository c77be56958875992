"""An interrupt at any point of a run gives a result, and leaves the process as it was."""

import contextlib
import functools
import os

import pyro
import pytest
import torch
import tqdm.auto
from pyro.infer.autoguide import AutoDiagonalNormal
from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK
from torch.utils.data import DataLoader, TensorDataset

from pyro_ugmm.checkpoint import Checkpoint
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.optimization import breakdown, convergence, descent
from pyro_ugmm.optimization.descent import Descent
from pyro_ugmm.optimization.iterates import Iterates
from pyro_ugmm.optimization.optimizer import Optimizer
from pyro_ugmm.sources.tensor_batches import TensorBatches
from pyro_ugmm.status import Status
from pyro_ugmm.training import FitResult, fit_mle, fit_svi
from tests.optimization.striking import struck

X = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
Y = torch.arange(30) % 3
STEPS = 52


def network():
    torch.manual_seed(0)
    return UGMMNetwork([2, 4, 3])


def mle(path=None, **kwargs):
    model = UGMMClassifier(network())
    arguments = {"steps": STEPS, "seed": 0, "progress": False, "batch_size": 10} | kwargs
    return model, fit_mle(model, X, Y, checkpoint=path, checkpoint_every=4, **arguments)


def svi(path=None, make_guide=mean_field, **kwargs):
    model = UGMMClassifier(network(), Priors())
    guide = make_guide(model)
    arguments = {"steps": STEPS, "seed": 0, "progress": False, "batch_size": 10} | kwargs
    return model, fit_svi(model, guide, X, Y, checkpoint=path, checkpoint_every=4, **arguments)


def traced(path=None, **kwargs):
    """SVI with a guide that Pyro runs at every step."""
    return svi(path, AutoDiagonalNormal, **kwargs)


def check_left_as_it_was(model, result, folder):
    assert isinstance(result, FitResult) and result.losses.shape == (result.n_steps,)
    assert not _PYRO_STACK and not _DIM_ALLOCATOR._stack
    assert pyro.settings.get("module_local_params") is False
    assert torch.distributions.Distribution._validate_args
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert {*os.listdir(folder)} <= {"run.pt"}


def interrupting(function, count, after=False):
    """A function that is interrupted at one of its calls, before or after it does its work."""
    calls = []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == count and not after:
            raise KeyboardInterrupt
        found = function(*args, **kwargs)
        if len(calls) == count:
            raise KeyboardInterrupt
        return found

    return interrupted


AFTER = ("replace", "verdict", "__enter__", "allocate")  # as these return
BOTH = [
    (os, "replace", 3),
    (os, "fsync", 3),
    (torch, "save", 3),
    (Checkpoint, "save", 3),
    (Checkpoint, "load", 1),
    (TensorBatches, "next", 20),
    (Optimizer, "step", 20),
    (torch.optim.Adam, "step", 20),
    (torch.Tensor, "backward", 20),
    (Iterates, "update", 3),
    (Iterates, "split", 1),
    (convergence, "verdict", 1),
    (descent, "bad_parameter", 3),
    (tqdm.auto.tqdm, "update", 20),
]
OF_PYRO = [
    (pyro.poutine.trace_messenger.TraceMessenger, "__enter__", 40),
    (pyro.poutine.trace_messenger.TraceMessenger, "__exit__", 40),
    (pyro.poutine.plate_messenger.PlateMessenger, "__exit__", 40),
    (pyro.poutine.indep_messenger.IndepMessenger, "__enter__", 40),
    (pyro.poutine.runtime._DimAllocator, "allocate", 40),
    (pyro.poutine.runtime._DimAllocator, "free", 40),
    (pyro.poutine.messenger.Messenger, "__exit__", 41),
    (pyro.poutine.trace_struct.Trace, "compute_log_prob", 40),
    (pyro.infer.Trace_ELBO, "differentiable_loss", 20),
]


@functools.cache
def uninterrupted(fit):
    return fit()[1].losses


@pytest.mark.parametrize(
    ("fit", "owner", "name", "count"),
    [(fit, *point) for fit in (mle, svi) for point in BOTH]
    + [(traced, *point) for point in OF_PYRO],
)
def test_an_interrupt_gives_a_result(fit, owner, name, count, monkeypatch, tmp_path):
    path = tmp_path / "run.pt"
    whole, after = uninterrupted(fit), name in AFTER
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupting(getattr(owner, name), count, after))
        model, result = fit(path)
    check_left_as_it_was(model, result, tmp_path)
    assert result.interrupted and result.status is Status.INTERRUPTED
    assert result.reason == f"interrupted after {result.n_steps} of {STEPS} steps"
    assert torch.equal(fit(path)[1].losses, whole)


@pytest.mark.parametrize("fit", [mle, svi, traced])
@pytest.mark.parametrize("with_file", [False, True])
def test_an_interrupt_at_any_call_gives_a_result(fit, with_file, tmp_path):
    path = tmp_path / "run.pt" if with_file else None

    def fitted():
        return fit(path, steps=3)

    calls, (_, whole) = struck(Descent.run, -1, fitted)
    for call in range(1, calls, calls // 40):
        if with_file:
            path.unlink(missing_ok=True)
        _, (model, result) = struck(Descent.run, call, fitted)
        check_left_as_it_was(model, result, tmp_path)
        was_heard = result.reason.startswith("interrupted after")
        assert was_heard or torch.equal(result.losses, whole.losses)  # callbacks hear nothing
    assert torch.equal(fitted()[1].losses, whole.losses)


def test_an_interrupt_as_the_scale_of_scores_is_noted(monkeypatch):
    original = UGMMClassifier.note_fit
    with monkeypatch.context() as patch:
        patch.setattr(UGMMClassifier, "note_fit", interrupting(original, 1))
        model, result = mle()
    expected, whole = mle()
    assert torch.equal(result.losses, whole.losses) and result.reason == whole.reason
    units = [one.network.layers[1].input_spread for one in (model, expected)]
    assert torch.equal(*units)


def test_an_interrupt_as_a_breakdown_is_looked_into(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(breakdown, "bad_rows", interrupting(breakdown.bad_rows, 1))
        x = X.clone()
        x[7] = 1e25
        model = UGMMClassifier(network(), Priors())
        result = fit_svi(model, mean_field(model), x, Y, steps=5, progress=False)
    assert result.interrupted
    check_left_as_it_was(model, result, tmp_path)


def test_an_interrupt_before_the_first_step_leaves_pyro_as_it_was(monkeypatch):
    free = pyro.poutine.runtime._DimAllocator.free
    for make in (svi, lambda: mean_field(UGMMClassifier(network(), Priors()), x=X, y=Y)):
        with monkeypatch.context() as patch:
            patch.setattr(pyro.poutine.runtime._DimAllocator, "free", interrupting(free, 1))
            with contextlib.suppress(KeyboardInterrupt):
                make()
        assert not _PYRO_STACK and not _DIM_ALLOCATOR._stack
    loader = DataLoader(TensorDataset(X, Y), 10)
    model = UGMMClassifier(network(), Priors())
    assert fit_svi(model, mean_field(model), loader, steps=2, progress=False).n_steps == 2
