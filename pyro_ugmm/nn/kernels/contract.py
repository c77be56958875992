"""What a backend of the layer's log-density does."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from .textbook import textbook

__all__ = ["Backend", "score"]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Backend(ABC):
    r"""Evaluates rows ``(n, K)`` under neurons ``(J, K)``, without holding ``(n, J, K)``.

    With :math:`u_{njk} = (x_{nk} - \mu_{jk}) / \sigma_{jk}` and what does not depend on rows in
    :math:`a_{jk}`, the score is :math:`\log \sum_k \exp(a_{jk} - u_{njk}^2 / 2)`.
    """

    name: ClassVar[str]

    @abstractmethod
    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        """Says why it cannot be used there; nothing if it can."""

    @abstractmethod
    def forward(self, x: Tensor, loc: Tensor, inverse: Tensor, a: Tensor, omit: bool) -> Tensor:
        r"""Returns the scores, ``(n, J)``, given :math:`1 / \sigma`."""

    @abstractmethod
    def backward(
        self,
        x: Tensor,
        loc: Tensor,
        inverse: Tensor,
        a: Tensor,
        omit: bool,
        out: Tensor,
        grad: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        r"""Returns the gradient of ``x``, and :math:`\sum_n r_{njk} (u_{njk}, u_{njk}^2, 1)`.

        :math:`r_{njk} = g_{nj} \exp(a_{jk} - u_{njk}^2 / 2 - \mathrm{out}_{nj})` with ``grad``
        :math:`g`.
        """


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
        out = backend.forward(x, loc, inverse, a, omit)
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
        grad_x, first, second, mass = ctx.backend.backward(
            x, loc, inverse, a, ctx.omit, out, grad.contiguous()
        )
        return grad_x, first * inverse, (second - mass) * inverse, mass, None, None


def score(backend: Backend, omit: bool, *tensors: Tensor) -> Tensor:
    """Evaluates rows ``(n, K)`` by a backend, under means, scales and log weights ``(J, K)``."""
    return _Score.apply(*(tensor.contiguous() for tensor in tensors), omit, backend)
