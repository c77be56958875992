"""The layer in C, in each variant that the processor here runs."""

from unittest import mock

import pytest
import torch

from pyro_ugmm.native import variants
from pyro_ugmm.nn.kernels import force_backend, layer_log_density
from pyro_ugmm.nn.kernels.backends import BACKENDS
from pyro_ugmm.nn.kernels.compiled import Compiled
from tests.nn.kernels.cases import textbook, value_and_gradients


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def layer(request):
    """The layer from logits, in one variant."""
    if request.param not in variants():
        pytest.skip("no such library, or it is for another processor")

    def by_variant(x, loc, scale, logits):
        return layer_log_density(x, loc, scale, logits.log_softmax(-1))

    table = {"compiled": Compiled(request.param)}
    with mock.patch.dict(BACKENDS, table), force_backend("compiled"):
        yield by_variant


def case(rows, width, dtype):
    torch.manual_seed(0)
    loc, logits = torch.randn(9, width, dtype=dtype), torch.randn(9, width, dtype=dtype)
    scale = torch.rand(9, width, dtype=dtype) + 0.1
    return [torch.randn(rows, width, dtype=dtype), loc, scale, logits]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
# Blocks of rows for few inputs, vectors of inputs for many, and what is left over of both.
@pytest.mark.parametrize(("rows", "width"), [(700, 3), (513, 16), (33, 17), (30, 200)])
def test_it_is_the_textbooks(layer, rows, width, dtype, tolerance):
    tensors = case(rows, width, dtype)
    value, gradients = value_and_gradients(layer, tensors)
    expected, expected_gradients = value_and_gradients(textbook, tensors)
    for got, wanted in zip((value, *gradients), (expected, *expected_gradients), strict=True):
        assert (got - wanted).norm() <= tolerance * wanted.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [8, 40])
def test_terms_that_underflow_and_inputs_without_a_weight(layer, width, dtype):
    x, loc, scale, logits = case(23, width, dtype)
    x[::3] += 1000
    x[1::3] -= torch.logspace(0, 4, 8, dtype=dtype).unsqueeze(-1)
    x[5, 2] = torch.nan
    logits[:, 0] = -torch.inf
    value, expected = layer(x, loc, scale, logits), textbook(x, loc, scale, logits)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=0, equal_nan=True)
