"""The layer's backends as tests take them, and its defining expression."""

import contextlib

import pytest
import torch

from pyro_ugmm.nn.kernels.backends import BACKENDS as ALL

BACKENDS = []
for backend in ALL.values():
    missing = backend.unavailable(torch.device("cpu"), torch.float32)
    skip = pytest.mark.skipif(bool(missing), reason=missing)
    BACKENDS.append(pytest.param(backend.name, marks=skip))


def textbook(x, loc, scale, logits):
    """The defining expression, by torch's distributions, in float64."""
    x, loc, scale, logits = (tensor.double() for tensor in (x, loc, scale, logits))
    component = torch.distributions.Normal(loc, scale, validate_args=False).log_prob(
        x.unsqueeze(-2)
    )
    return torch.logsumexp(torch.log_softmax(logits, -1) + component, -1)


def value_and_gradients(function, tensors):
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    value = function(*tensors)
    return value.detach(), torch.autograd.grad(value.sum(), tensors)


@contextlib.contextmanager
def threads(count):
    """So many of torch's threads within."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
