import os
import signal

import pyro
import pytest
import torch

from .elsewhere import shift_seeds

if not torch.cuda.is_available():  # Triton's kernels then run in its interpreter
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_addoption(parser):
    group = parser.getgroup("elsewhere", "what differs on another machine")
    group.addoption("--torch-threads", type=int, default=1, help="torch's threads, by default one")
    group.addoption("--shift-seeds", type=int, default=0, help="what is added to all seeds")
    group.addoption("--attacks", type=int, default=1, help="how many times as many attacks to run")


def pytest_configure(config):
    # The tests' tensors are too small to share.
    torch.set_num_threads(config.getoption("--torch-threads"))
    shift_seeds(config.getoption("--shift-seeds"))
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    """Leaves out what is no attack where many attacks are asked for."""
    if config.getoption("--attacks") > 1:
        others = [item for item in items if "attacks" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


@pytest.fixture
def attacks(request, record_property):
    """Numbers attacks, as many as the suite makes, or with ``--attacks`` so many times as many."""

    def numbered(usual: int) -> range:
        count = usual * request.config.getoption("--attacks")
        record_property("attacks", count)
        return range(count)

    return numbered


@pytest.fixture(autouse=True)
def seeded():
    """Each test starts from the same random state and leaves Pyro's store as it found it."""
    torch.manual_seed(0)
    before = {name: id(parameter) for name, parameter in pyro.get_param_store().items()}
    yield
    after = {name: id(parameter) for name, parameter in pyro.get_param_store().items()}
    for name in after.keys() - before.keys():  # so that one test does not fail all others
        del pyro.get_param_store()[name]
    assert after == before, "a test left parameters in Pyro's store"


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here"),
        ),
    ]
)
def device(request):
    return torch.device(request.param)


@pytest.fixture
def own_store():
    """A parameter store for this test alone, where Pyro itself leaves parameters."""
    with pyro.get_param_store().scope():
        yield
