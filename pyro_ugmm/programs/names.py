"""What is observed, what is given, and what dimensions are called, for ArviZ."""

import inspect
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from .traced import Rows, Traced

__all__ = ["Names", "ObservedRows", "names_of"]


@dataclass(frozen=True, eq=False)
class ObservedRows:
    """The parts of data.

    Attributes:
        name: the observed site.
        value: what was observed of it; None where that is not among the data.
        given: what the program is given, by name.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> BayesianGaussianMixture(2, 1).observed_rows(torch.zeros(5, 1)).name
        'x'
    """

    name: str
    value: Tensor | None
    given: dict[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Names(Protocol):
    """A model that names its data and dimensions.

    Example:
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> BayesianGaussianMixture(2, 3).dims()["means"]
        ['component', 'feature']
    """

    @abstractmethod
    def observed_rows(self, *rows: Tensor) -> ObservedRows:
        """Tells what is observed from what is given."""

    @abstractmethod
    def dims(self) -> dict[str, list[str]]:
        """Names the dimensions of every site, and of the data."""


class _TracedNames:
    """The names of a plain program: its sites', its plates' and its arguments'."""

    def __init__(self, model: Callable, rows: Rows) -> None:
        self._traced, self._rows = Traced(model, rows), rows
        self._arguments = _arguments_of(model)

    def observed_rows(self, *rows: Tensor) -> ObservedRows:
        value = self._traced.observed["value"]
        named = zip(self._arguments, rows, strict=False)
        given = {name: part for name, part in named if not _is_same(part, value)}
        return ObservedRows(self._traced.name, value, given)

    def dims(self) -> dict[str, list[str]]:
        nodes = {**self._traced.latent, self._traced.name: self._traced.observed}
        dims = {name: _dims_of(name, node) for name, node in nodes.items()}
        for name, value in self.observed_rows(*self._rows).given.items():
            rest = [f"{name}_dim_{i}" for i in range(1, value.dim())]
            dims[name] = [self._traced.plate, *rest]
        return dims


def _is_same(part: Tensor, value: Tensor) -> bool:
    return part is value or (part.dtype == value.dtype and torch.equal(part, value))


def _dims_of(name: str, node: Any) -> list[str]:
    """Plates' names, by their dimension; others as ArviZ calls them."""
    n_dims, n_event = node["value"].dim(), node["fn"].event_dim
    dims = [f"{name}_dim_{i}" for i in range(n_dims)]
    for frame in node["cond_indep_stack"]:
        if frame.vectorized:
            dims[n_dims - n_event + frame.dim] = frame.name
    return dims


def _arguments_of(model: Callable) -> list[str]:
    function = model.forward if isinstance(model, torch.nn.Module) else model
    try:
        return [name for name in inspect.signature(function).parameters if name != "self"]
    except (TypeError, ValueError):
        return ["x", "y"]


def names_of(model: Callable, rows: Rows) -> Names:
    """Answers for the names of any program."""
    return model if isinstance(model, Names) else _TracedNames(model, rows)
