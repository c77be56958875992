"""Computation whose results are ordinary tensors without gradients, even in inference mode."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from ..precision import full_precision

__all__ = ["untracked"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def untracked(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turns off gradients, autocast, and inference mode, whose tensors nobody can change later."""
    return full_precision(torch.inference_mode(False)(torch.no_grad()(function)))
