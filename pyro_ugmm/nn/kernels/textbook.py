"""The layer's log-density as it is written in a book: the oracle of the other backends."""

from typing import ClassVar

import torch
from torch import Tensor

from ...distributions.normal import normal_log_density
from .backend import Backend, LayerInputs
from .layout import Layout

__all__ = ["Textbook", "textbook"]

# For which another backend's call pays; on a GPU fewer take as long as it takes to start a kernel.
_FEWEST_TERMS = {"cpu": 1 << 12}
_FEWEST_ELSEWHERE = 1 << 22


class Textbook(Backend):
    """Plain torch operations on all (row, neuron, input) at once; as fast as any on few of them."""

    name: ClassVar[str] = "textbook"
    is_composed: ClassVar[bool] = True

    def suits(self, device: torch.device, layout: Layout) -> bool:
        return layout.n_terms < _FEWEST_TERMS.get(device.type, _FEWEST_ELSEWHERE)

    def score(self, inputs: LayerInputs, layout: Layout) -> Tensor:
        *tensors, omit = inputs
        return textbook(*tensors, omit=omit)


def textbook(
    x: Tensor, loc: Tensor, scale: Tensor, log_weight: Tensor, *, omit: bool = False
) -> Tensor:
    """Evaluates all (row, neuron, input) at once, differentiable by autograd as often as wanted.

    See :func:`pyro_ugmm.nn.kernels.layer_log_density`; leading dimensions broadcast.
    """
    x = x.unsqueeze(-2)
    if omit:
        missing = x.isnan()
        x = x.masked_fill(missing, 0.0)
        log_weight = log_weight.masked_fill(missing, -float("inf"))
    return (log_weight + normal_log_density(x, loc, scale)).logsumexp(-1)
