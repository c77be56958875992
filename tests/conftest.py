import os

import pyro
import pytest
import torch

if not torch.cuda.is_available():  # Triton's kernels then run in its interpreter
    os.environ.setdefault("TRITON_INTERPRET", "1")
torch.set_num_threads(1)  # the tests' tensors are too small to share


@pytest.fixture(autouse=True)
def seeded():
    """Each test starts from the same random state and leaves Pyro's store as it found it."""
    torch.manual_seed(0)
    before = dict(pyro.get_param_store().items())
    yield
    assert dict(pyro.get_param_store().items()) == before, "a test left parameters in Pyro's store"


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
