"""A backend from outside: one class, and a line in the table."""

from unittest import mock

import pytest
import torch

from pyro_ugmm.nn import UGMMLayer
from pyro_ugmm.nn.kernels import backend_for, force_backend, layer_log_density
from pyro_ugmm.nn.kernels.backends import BACKENDS
from pyro_ugmm.nn.kernels.kernel import Gradients, Kernel
from tests.nn.kernels.cases import textbook, value_and_gradients


class Toy(Kernel):
    """Broadcasts; notes which shapes it is called with."""

    name = "toy"

    def __init__(self):
        self.calls = []

    def unavailable(self, device, dtype):
        return "" if dtype == torch.float64 else "it is for float64"

    def suits(self, device, layout):
        return layout.n_inputs == 7

    @staticmethod
    def exponents(terms):
        u = (terms.x.unsqueeze(-2) - terms.loc.unsqueeze(-3)) * terms.inverse.unsqueeze(-3)
        return u, terms.a.unsqueeze(-3) - u.square() / 2

    def forward(self, terms, out):
        self.calls.append((tuple(terms.x.shape), tuple(terms.loc.shape)))
        out.copy_(self.exponents(terms)[1].logsumexp(-1))

    def backward(self, terms, out, grad, wants_x):
        u, exponents = self.exponents(terms)
        r = grad.unsqueeze(-1) * (exponents - out.unsqueeze(-1)).exp()
        slope = -(r * u * terms.inverse.unsqueeze(-3)).sum(-2)
        slope = slope.sum_to_size(terms.x.shape) if wants_x else None
        return Gradients(slope, (r * u).sum(-3), (r * u * u).sum(-3), r.sum(-3))


@pytest.fixture
def toy(monkeypatch):
    one = Toy()
    monkeypatch.setitem(BACKENDS, "toy", one)
    return one


def evaluated(x, loc, scale, logits):
    return layer_log_density(x, loc, scale, logits.log_softmax(-1))


def test_it_can_be_forced(toy):
    layer, x = UGMMLayer(4, 3, dtype=torch.float64), torch.randn(10, 4).double()
    expected = layer(x)
    with force_backend("toy"):
        assert backend_for("cpu", torch.float64) == "toy"
        torch.testing.assert_close(layer(x), expected)
        with pytest.raises(ValueError, match="'toy' to be available, got none: it is for float64"):
            UGMMLayer(4, 3)(x.float())
    assert len(toy.calls) == 1


def test_it_is_taken_where_it_suits(toy):
    table = {"textbook": BACKENDS["textbook"], "toy": toy, "last": Last()}
    with mock.patch.dict(BACKENDS, table, clear=True):
        check_taken(toy)


def check_taken(toy):
    for width, count in ((6, 0), (7, 1)):
        layer, x = UGMMLayer(width, 100, dtype=torch.float64), torch.randn(100, width).double()
        layer(x)
        assert len(toy.calls) == count


class Last(Toy):
    name = "last"

    def suits(self, device, layout):
        return True


@pytest.mark.parametrize("shared", [True, False])
def test_sets_of_parameters_come_at_once(toy, shared):
    x = torch.randn(*(() if shared else (4, 1)), 5, 7).double()
    loc, scale, logits = (torch.rand(4, 2, 1, 6, 7).double() + 0.3 for _ in range(3))
    case = (x, loc, scale, logits[0, 0])
    with force_backend("toy"):
        value, gradients = value_and_gradients(evaluated, case)
    expected, expected_gradients = value_and_gradients(textbook, case)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradients, expected_gradients)
    assert toy.calls == [((1 if shared else 8, 5, 7), (8, 6, 7))]


def test_derivatives_of_derivatives_of_sets(toy):
    case = [torch.randn(3, 4), torch.randn(2, 1, 2, 4), torch.rand(2, 4) + 0.3, torch.randn(2, 4)]
    case = [tensor.double().requires_grad_() for tensor in case]
    with force_backend("toy"):
        assert torch.autograd.gradcheck(evaluated, case)
        assert torch.autograd.gradgradcheck(evaluated, case)
