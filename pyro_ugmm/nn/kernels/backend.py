"""What a backend of the layer's log-density is."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from .layout import Layout

__all__ = ["Backend", "LayerInputs"]


class LayerInputs(NamedTuple):
    """What a layer is evaluated from.

    Attributes:
        x: inputs, shape ``B + (K,)``.
        loc: means, shape ``P + (J, K)``; and so are the next two.
        scale: standard deviations.
        log_weight: log weights.
        omit: whether NaN in ``x`` leaves its term out.
    """

    x: Tensor
    loc: Tensor
    scale: Tensor
    log_weight: Tensor
    omit: bool


class Backend(ABC):
    """A way to evaluate a layer, which says of itself where it can be used and where it pays."""

    name: ClassVar[str]
    is_composed: ClassVar[bool] = False
    """Whether all it does are torch's operations on the tensors given, so that autograd,
    ``torch.func``, tracing and tensors of other kinds can follow it."""

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        """Says why it cannot be used there; nothing if it can."""
        return ""

    def suits(self, device: torch.device, layout: Layout) -> bool:
        """Whether it is the one to take there, if it comes before others and none is forced."""
        return True

    @abstractmethod
    def score(self, inputs: LayerInputs, layout: Layout) -> Tensor:
        """Returns the scores, ``broadcast(P, B) + (J,)``."""
