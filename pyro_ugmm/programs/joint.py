"""The log joint density of a program, row by row, for training, curvature and leaving rows out."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from ..checks import check
from .draws import evaluated
from .traced import Rows, Traced, run

__all__ = ["LogJoint", "joint_of"]

Draws = Mapping[str, Tensor]


@runtime_checkable
class LogJoint(Protocol):
    """A model that evaluates rows under one draw of its latent sites, or under many at once.

    Many have a first dimension ``(S,)``.
    """

    @property
    @abstractmethod
    def has_likelihood(self) -> bool:
        """Whether :meth:`row_terms` are log-likelihoods."""

    @property
    @abstractmethod
    def values_per_row(self) -> int:
        """How many numbers it takes to evaluate one row under one draw."""

    @abstractmethod
    def row_terms(self, *rows: Tensor, draws: Draws | None = None) -> Tensor:
        """What each row adds to the log joint density: ``(n,)``, or ``(S, n)``."""

    @abstractmethod
    def log_prior(self, draws: Draws) -> Tensor:
        """The log density of all latent sites: ``()``, or ``(S,)``."""


class _TracedJoint:
    """The log joint density of a plain program."""

    has_likelihood = True

    def __init__(self, model: Callable, rows: Rows) -> None:
        self._traced, self._rows = Traced(model, rows), rows
        self._shapes = {name: node["value"].shape for name, node in self._traced.latent.items()}
        held = max((shape.numel() for shape in self._shapes.values()), default=1)
        self.values_per_row = held + self._traced.observed["value"][0].numel()

    def _of_one(self, rows: Rows, draw: Draws) -> tuple[Tensor, Tensor]:
        trace = run(self._traced.model, rows, draw)
        terms = trace.nodes[self._traced.name]["log_prob"]
        latent = [trace.nodes[name]["log_prob"].sum() for name in self._shapes]
        return sum(latent, terms.new_zeros(())), terms

    def _evaluate(self, rows: Rows, draws: Draws | None) -> tuple[Tensor, Tensor]:
        draws = dict(draws or {})
        known = self._shapes
        check(draws.keys() == known.keys(), "draws", f"values of {[*known]}", f"{[*draws]}")
        leading = {
            name: value.shape[: value.dim() - len(known[name])] for name, value in draws.items()
        }
        shapes = {*map(tuple, leading.values())} or {()}
        fits = len(shapes) == 1 and all(
            value.shape[len(leading[name]) :] == known[name] for name, value in draws.items()
        )
        expected = f"values of shapes {known}, or of draws, with (S,) before that"
        check(fits and len(*shapes) < 2, "draws", expected, {k: v.shape for k, v in draws.items()})
        (shape,) = shapes
        if not shape:
            return self._of_one(rows, draws)
        size = len(rows[0]) * self.values_per_row
        prior, terms = evaluated(lambda draw: self._of_one(rows, draw), draws, size)
        return prior, terms

    def row_terms(self, *rows: Tensor, draws: Draws | None = None) -> Tensor:
        return self._evaluate(rows, draws)[1]

    def log_prior(self, draws: Draws) -> Tensor:
        return self._evaluate(self._rows, draws)[0]


def joint_of(model: Callable, rows: Rows) -> LogJoint:
    """Answers for the log joint density of any program."""
    return model if isinstance(model, LogJoint) else _TracedJoint(model, rows)
