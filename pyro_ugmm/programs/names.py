"""What is observed, what is given, and what dimensions are called, for ArviZ."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from .parameters import argument_names
from .plates import plates_of
from .traced import Rows, Traced, is_point

__all__ = ["Names", "ObservedRows", "names_of"]


@dataclass(frozen=True, eq=False)
class ObservedRows:
    """The parts of data.

    Attributes:
        values: what was observed, by site; None where that is not among the data.
        given: what the program is given, by name.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> [*BayesianGaussianMixture(2, 1).observed_rows(torch.zeros(5, 1)).values]
        ['x']
    """

    values: Mapping[str, Tensor | None]
    given: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Names(Protocol):
    """A model that names its data and dimensions.

    Example:
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> BayesianGaussianMixture(2, 3).dims()["means"]
        ['component', 'feature']
    """

    @abstractmethod
    def observed_rows(self, *rows: Any) -> ObservedRows:
        """Tells what is observed from what is given."""

    @abstractmethod
    def dims(self) -> dict[str, list[str]]:
        """Names the dimensions of every site, and of the data."""


class _TracedNames:
    """The names of a plain program: its sites', its plates' and its arguments'."""

    def __init__(self, model: Callable, rows: Rows) -> None:
        self._traced, self._rows = Traced(model, rows), rows
        self._arguments = argument_names(model)

    def observed_rows(self, *rows: Any) -> ObservedRows:
        values = {name: node["value"] for name, node in self._traced.observed.items()}
        given = {
            name: part
            for name, part in zip(self._arguments, rows, strict=False)
            if isinstance(part, Tensor)
            and name not in values
            and not any(_is_same(part, value) for value in values.values())
        }
        return ObservedRows(values, given)

    def dims(self) -> dict[str, list[str]]:
        nodes = self._traced.latent | self._traced.deterministic | self._traced.observed
        dims = {name: [*plates] for name, plates in self._traced.terms.items()}
        dims |= {name: _dims_of(name, node) for name, node in nodes.items()}
        for name, value in self.observed_rows(*self._rows).given.items():
            own = [f"{name}_dim_{i}" for i in range(value.dim())]
            own[:1] = (self._plates_of(len(value)) if own else []) or own[:1]
            dims[name] = own
        return dims

    def _plates_of(self, size: int) -> list[str]:
        """The plate of observed sites that has this size, if there is one."""
        frames = (frame for node in self._traced.observed.values() for frame in plates_of(node))
        names = [*dict.fromkeys(frame.name for frame in frames if frame.size == size)]
        return names if len(names) == 1 else []


def _is_same(part: Tensor, value: Tensor) -> bool:
    return part is value or (part.dtype == value.dtype and torch.equal(part, value))


def _dims_of(name: str, node: Any) -> list[str]:
    """Plates' names, by their dimension; others as ArviZ calls them."""
    shape, n_event = node["value"].shape, node["fn"].event_dim
    dims = [f"{name}_dim_{i}" for i in range(len(shape))]
    if n_event == len(shape):  # deterministic sites take all dimensions for an event's
        n_event = 0 if is_point(node["fn"]) else n_event
    for frame in plates_of(node):
        at = len(shape) - n_event + frame.dim
        if at >= 0 and shape[at] == frame.size:
            dims[at] = frame.name
    return dims


def names_of(model: Callable, rows: Rows) -> Names:
    """Answers for the names of any program."""
    return model if isinstance(model, Names) else _TracedNames(model, rows)
