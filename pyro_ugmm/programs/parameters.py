"""Programs and guides that hold their own parameters, whichever way they were written."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pyro
import torch
from pyro.nn import PyroModule
from torch import Tensor

from ..nn.local_parameters import localize

__all__ = ["FunctionWithParameters", "holding_parameters", "takes_size"]


def takes_size(function: Callable) -> bool:
    """Whether a program takes ``size``, the number of rows of the full data."""
    if isinstance(function, torch.nn.Module):
        function = function.forward
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.name == "size" or p.kind is p.VAR_KEYWORD for p in parameters)


class FunctionWithParameters:
    """A function whose ``pyro.param`` statements have a store of their own."""

    def __init__(self, function: Callable) -> None:
        self.function = self.__wrapped__ = function  # where its signature is looked for
        self._takes_size = takes_size(function)
        self.state: Any = {"params": {}, "constraints": {}}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the function."""
        if not self._takes_size:
            kwargs.pop("size", None)
        with pyro.get_param_store().scope(self.state) as self.state:
            return self.function(*args, **kwargs)

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters, once the function has run."""
        yield from self.state["params"].items()


def holding_parameters(program: Callable) -> Any:
    """Returns a program, or a guide, that holds its own parameters: a module does, a function not.

    Parameters of a Pyro module become its own, not shared by name.
    """
    if isinstance(program, PyroModule):
        localize(program)
    if isinstance(program, torch.nn.Module | FunctionWithParameters):
        return program
    return FunctionWithParameters(program)
