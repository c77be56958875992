"""Rows in a tensor."""

from typing import Any

import torch
from torch import Tensor

from ..checks import check
from .source import Part, Source

__all__ = ["TensorSource"]


class TensorSource(Source):
    """A tensor, whose dtype nobody changes."""

    @staticmethod
    def takes(x: Any) -> bool:
        """Whether it is a tensor."""
        return isinstance(x, Tensor)

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return tuple(self._x.shape)

    def parts(self) -> list[Part]:
        """The tensor."""
        check(self._x.layout == torch.strided, "x", "a dense tensor", self._x.layout)
        return [Part(self._x)]
