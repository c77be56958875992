"""Numerics in the precision of their numbers, whatever ``torch.autocast`` says outside."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

__all__ = ["full_precision"]

_DEVICES = ("cpu", "cuda", "mps", "xpu")
_P = ParamSpec("_P")
_R = TypeVar("_R")


def full_precision(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Lets a function compute in the dtype of its tensors, also within ``torch.autocast``.

    Autocast halves the digits of matrix products, which networks bear and differences of large
    terms do not. This goes on the doors of the numerics; what they call needs it no more.

    Example:
        >>> import torch
        >>> from pyro_ugmm.precision import full_precision
        >>> @full_precision
        ... def square(matrix):
        ...     return matrix @ matrix
        >>> with torch.autocast("cpu", dtype=torch.bfloat16):
        ...     square(torch.eye(2)).dtype
        torch.float32
    """

    @functools.wraps(function)
    def exact(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        casting = [device for device in _DEVICES if torch.is_autocast_enabled(device)]
        if not casting:
            return function(*args, **kwargs)
        with torch.autocast(casting[0], enabled=False):
            return exact(*args, **kwargs)

    return exact
