"""A backend with a backward pass of its own, which holds nothing of rows by neurons by inputs."""

import math
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .backend import Backend, LayerInputs
from .layout import Layout
from .textbook import textbook

__all__ = ["Gradients", "Kernel", "Terms"]

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
        x: the gradient of the rows, of their shape.
        first: :math:`\sum_n r_{njk} u_{njk}`, shape ``(J, K)``; and so are the next two.
        second: :math:`\sum_n r_{njk} u_{njk}^2`.
        mass: :math:`\sum_n r_{njk}`.
    """

    x: Tensor
    first: Tensor
    second: Tensor
    mass: Tensor


class Kernel(Backend):
    """Evaluates rows ``(n, K)`` under neurons ``(J, K)``, without holding ``(n, J, K)``."""

    takes_sets: ClassVar[bool] = False
    """Whether it takes ``S`` sets of parameters in one call: ``(S, J, K)``, and rows ``(S, n, K)``,
    or ``(1, n, K)`` where all sets have the same. Else it is called once for each set."""

    @abstractmethod
    def forward(self, terms: Terms) -> Tensor:
        """Returns the scores, the terms' log-sum-exp over inputs: ``(n, J)``."""

    @abstractmethod
    def backward(self, terms: Terms, out: Tensor, grad: Tensor) -> Gradients:
        """Returns the sums that gradients are made of, given the scores and their gradient."""

    def score(self, inputs: LayerInputs, layout: Layout) -> Tensor:
        *tensors, omit = inputs
        if self.takes_sets:
            return layout.restored(self._apply(layout.stacked(*tensors), omit))
        out, *others = (self._apply(one, omit) for one in layout.sets(*tensors))
        return layout.restored(torch.stack([out, *others]) if others else out)

    def _apply(self, tensors: tuple[Tensor, ...], omit: bool) -> Tensor:
        return _Score.apply(*(tensor.contiguous() for tensor in tensors), omit, self)


class _Score(torch.autograd.Function):
    """The scores of rows under parameters, with a kernel's backward."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        loc: Tensor,
        scale: Tensor,
        log_weight: Tensor,
        omit: bool,
        kernel: Kernel,
    ) -> Tensor:
        inverse, a = scale.reciprocal(), (log_weight - scale.log()).sub_(_HALF_LOG_TWO_PI)
        out = kernel.forward(Terms(x, loc, inverse, a, omit))
        ctx.save_for_backward(x, loc, scale, log_weight, inverse, a, out)
        ctx.omit, ctx.kernel = omit, kernel
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        *given, inverse, a, out = ctx.saved_tensors
        (grad,) = grads
        if torch.is_grad_enabled():
            return *_differentiable_gradients(given, grad, ctx.omit), None, None
        terms = Terms(given[0], given[1], inverse, a, ctx.omit)
        grad_x, first, second, mass = ctx.kernel.backward(terms, out, grad.contiguous())
        return grad_x, first * inverse, (second - mass) * inverse, mass, None, None


def _differentiable_gradients(given: list[Tensor], grad: Tensor, omit: bool) -> list[Tensor | None]:
    """Gradients by the textbook, for derivatives of derivatives."""
    inputs = [tensor for tensor in given if tensor.requires_grad]
    x, *parameters = given
    rows = (one.unsqueeze(-3) for one in parameters)
    value = textbook(x, *rows, omit=omit)
    gradients = iter(torch.autograd.grad(value, inputs, grad, create_graph=True))
    return [next(gradients) if tensor.requires_grad else None for tensor in given]
