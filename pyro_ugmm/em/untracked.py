"""Computation whose results are ordinary tensors without gradients, even in inference mode."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from ..precision import full_precision

__all__ = ["untracked"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def untracked() -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Turns off gradients, autocast, and inference mode, whose tensors none later can be made of.

    Returns a decorator.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        return full_precision(torch.inference_mode(False)(torch.no_grad()(function)))

    return decorate
