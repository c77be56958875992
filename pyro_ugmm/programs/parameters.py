"""Programs and guides that hold their own parameters, whichever way they were written."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pyro
import torch
from pyro.nn import PyroModule
from torch import Tensor

from ..nn.local_parameters import localize

__all__ = [
    "FunctionWithParameters",
    "argument_names",
    "holding_parameters",
    "misfit",
    "signature_of",
    "takes_size",
]


def signature_of(program: Callable) -> inspect.Signature | None:
    """The signature of a program, if it has one."""
    function = program.forward if isinstance(program, torch.nn.Module) else program
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def misfit(program: Callable, count: int) -> str | None:
    """Why a program cannot be called with so many arguments by position, in words."""
    signature = signature_of(program)
    try:
        if signature is not None:
            signature.bind(*range(count))
    except TypeError as error:
        return str(error)
    return None


def argument_names(program: Callable) -> list[str]:
    """The names of a program's arguments, in order."""
    signature = signature_of(program)
    return ["x", "y"] if signature is None else [*signature.parameters]


def takes_size(program: Callable) -> bool:
    """Whether a program takes ``size``, the number of rows of the full data."""
    signature = signature_of(program)
    parameters = () if signature is None else signature.parameters.values()
    takes = any(p.name == "size" or p.kind is p.VAR_KEYWORD for p in parameters)
    return signature is None or takes


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
