"""A backend with a backward pass of its own, which holds nothing of rows by neurons by inputs."""

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .backend import Backend, LayerInputs
from .layout import Layout
from .textbook import textbook

__all__ = ["Gradients", "Kernel", "Terms"]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Terms(NamedTuple):
    r"""What the exponents :math:`a_{sjk} - u_{snjk}^2 / 2` are made of, all of it contiguous.

    Attributes:
        x: rows of each of the ``S`` sets of parameters, shape ``(S, n, K)``; or ``(1, n, K)``,
            those of all sets.
        loc: means :math:`\mu`, shape ``(S, J, K)``; and so are the next two.
        inverse: :math:`1 / \sigma`, so that
            :math:`u_{snjk} = (x_{snk} - \mu_{sjk}) / \sigma_{sjk}`.
        a: what does not depend on rows.
        omit: whether NaN in ``x`` leaves its term out.
    """

    x: Tensor
    loc: Tensor
    inverse: Tensor
    a: Tensor
    omit: bool

    @property
    def is_shared(self) -> bool:
        """Whether all sets have the same rows."""
        return len(self.x) == 1

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """How many sets, rows, neurons and inputs there are."""
        n_sets, n_neurons, n_inputs = self.loc.shape
        return n_sets, self.x.shape[1], n_neurons, n_inputs


class Gradients(NamedTuple):
    r"""With :math:`r_{snjk} = g_{snj} \exp(a_{sjk} - u_{snjk}^2 / 2 - \mathrm{out}_{snj})`, where
    :math:`g` is the gradient of the scores.

    Attributes:
        x: the gradient of the rows, of their shape; nothing where nobody wants it.
        first: :math:`\sum_n r_{snjk} u_{snjk}`, shape ``(S, J, K)``; and so are the next two.
        second: :math:`\sum_n r_{snjk} u_{snjk}^2`.
        mass: :math:`\sum_n r_{snjk}`.
    """

    x: Tensor | None
    first: Tensor
    second: Tensor
    mass: Tensor


class Kernel(Backend):
    """Evaluates rows under sets of neurons, all sets at once, without holding all their terms."""

    @abstractmethod
    def forward(self, terms: Terms, out: Tensor) -> None:
        """Writes the scores, the terms' log-sum-exp over inputs, ``(S, n, J)``, to ``out``."""

    @abstractmethod
    def backward(self, terms: Terms, out: Tensor, grad: Tensor, wants_x: bool) -> Gradients:
        """Returns the sums that gradients are made of, given the scores and their gradient."""

    def score(self, inputs: LayerInputs, layout: Layout) -> Tensor:
        return layout.restored(_Score.apply(*inputs, layout, self))


class _Score(torch.autograd.Function):
    """The scores of rows under sets of parameters, with a kernel's backward."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        loc: Tensor,
        scale: Tensor,
        log_weight: Tensor,
        omit: bool,
        layout: Layout,
        kernel: Kernel,
    ) -> Tensor:
        inverse, a = scale.reciprocal(), (log_weight - scale.log()).sub_(_HALF_LOG_TWO_PI)
        stacked_loc, inverse, a = map(layout.stacked, (loc, inverse, a))
        terms = Terms(layout.stacked_inputs(x), stacked_loc, inverse, a, omit)
        out = x.new_empty(layout.shape)
        kernel.forward(terms, out.view(layout.stacked_shape))
        ctx.save_for_backward(x, loc, scale, log_weight, *terms[:4], out)
        ctx.omit, ctx.layout, ctx.kernel = omit, layout, kernel
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        x, *parameters, rows, loc, inverse, a, out = ctx.saved_tensors
        layout, (grad,), rest = ctx.layout, grads, (None, None, None)
        if torch.is_grad_enabled():
            grad = layout.restored(grad)
            return *_differentiable_gradients([x, *parameters], grad, ctx.omit), *rest
        terms = Terms(rows, loc, inverse, a, ctx.omit)
        out, grad = (one.reshape(layout.stacked_shape) for one in (out, grad.contiguous()))
        wants_x = ctx.needs_input_grad[0]
        grad_x, first, second, mass = ctx.kernel.backward(terms, out, grad, wants_x)
        sums = first.mul_(inverse), second.sub_(mass).mul_(inverse), mass
        slopes = map(layout.gradient, sums, (one.shape for one in parameters))
        if grad_x is not None:
            grad_x = layout.gradient_of_inputs(grad_x, x.shape)
        return grad_x, *slopes, *rest


def _differentiable_gradients(given: list[Tensor], grad: Tensor, omit: bool) -> list[Tensor | None]:
    """Gradients by the textbook, for derivatives of derivatives."""
    inputs = [tensor for tensor in given if tensor.requires_grad]
    value = textbook(*given, omit=omit)
    gradients = iter(torch.autograd.grad(value, inputs, grad, create_graph=True))
    return [next(gradients) if tensor.requires_grad else None for tensor in given]
