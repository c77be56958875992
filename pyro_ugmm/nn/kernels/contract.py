"""What a backend of the layer's log-density does."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .textbook import textbook

__all__ = ["Backend", "Gradients", "Terms", "score"]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Terms(NamedTuple):
    r"""What the exponents :math:`a_{jk} - u_{njk}^2 / 2` are made of.

    Attributes:
        x: rows, shape ``(n, K)``.
        loc: means :math:`\mu`, shape ``(J, K)``; and so are the next two.
        inverse: :math:`1 / \sigma`, so that :math:`u_{njk} = (x_{nk} - \mu_{jk}) / \sigma_{jk}`.
        a: what does not depend on rows.
        omit: whether NaN in ``x`` leaves its term out.
    """

    x: Tensor
    loc: Tensor
    inverse: Tensor
    a: Tensor
    omit: bool


class Gradients(NamedTuple):
    r"""With :math:`r_{njk} = g_{nj} \exp(a_{jk} - u_{njk}^2 / 2 - \mathrm{out}_{nj})`, where
    :math:`g` is the gradient of the scores.

    Attributes:
        x: the gradient of the rows, shape ``(n, K)``.
        first: :math:`\sum_n r_{njk} u_{njk}`, shape ``(J, K)``; and so are the next two.
        second: :math:`\sum_n r_{njk} u_{njk}^2`.
        mass: :math:`\sum_n r_{njk}`.
    """

    x: Tensor
    first: Tensor
    second: Tensor
    mass: Tensor


class Backend(ABC):
    """Evaluates rows ``(n, K)`` under neurons ``(J, K)``, without holding ``(n, J, K)``."""

    name: ClassVar[str]

    @abstractmethod
    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        """Says why it cannot be used there; nothing if it can."""

    @abstractmethod
    def forward(self, terms: Terms) -> Tensor:
        """Returns the scores, the terms' log-sum-exp over inputs: ``(n, J)``."""

    @abstractmethod
    def backward(self, terms: Terms, out: Tensor, grad: Tensor) -> Gradients:
        """Returns the sums that gradients are made of, given the scores and their gradient."""


class _Score(torch.autograd.Function):
    """The scores of one set of parameters, with the backend's backward."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        loc: Tensor,
        scale: Tensor,
        log_weight: Tensor,
        omit: bool,
        backend: Backend,
    ) -> Tensor:
        inverse, a = scale.reciprocal(), log_weight - scale.log() - _HALF_LOG_TWO_PI
        out = backend.forward(Terms(x, loc, inverse, a, omit))
        ctx.save_for_backward(x, loc, scale, log_weight, inverse, a, out)
        ctx.omit, ctx.backend = omit, backend
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        x, loc, scale, log_weight, inverse, a, out = ctx.saved_tensors
        (grad,) = grads
        if torch.is_grad_enabled():  # for derivatives of derivatives
            inputs = [t for t in (x, loc, scale, log_weight) if t.requires_grad]
            value = textbook(x, loc, scale, log_weight, omit=ctx.omit)
            found = iter(torch.autograd.grad(value, inputs, grad, create_graph=True))
            wanted = (t.requires_grad for t in (x, loc, scale, log_weight))
            return (*(next(found) if want else None for want in wanted), None, None)
        terms = Terms(x, loc, inverse, a, ctx.omit)
        grad_x, first, second, mass = ctx.backend.backward(terms, out, grad.contiguous())
        return grad_x, first * inverse, (second - mass) * inverse, mass, None, None


def score(backend: Backend, omit: bool, *tensors: Tensor) -> Tensor:
    """Evaluates rows ``(n, K)`` by a backend, under means, scales and log weights ``(J, K)``."""
    return _Score.apply(*(tensor.contiguous() for tensor in tensors), omit, backend)
