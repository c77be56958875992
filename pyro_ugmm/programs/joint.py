"""The log joint density of a program, row by row, for training, curvature and leaving rows out."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from ..checks import check
from .draws import evaluated
from .traced import Draws, Rows, Traced, run

__all__ = ["LogJoint", "joint_of"]


@runtime_checkable
class LogJoint(Protocol):
    """A model that evaluates rows under one draw of its latent sites, or under many at once.

    Many have a first dimension ``(S,)``.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> model, x = BayesianGaussianMixture(2, 1), torch.zeros(5, 1)
        >>> draws = model.sample_prior(7)
        >>> model.log_prior(draws).shape, model.row_terms(x, draws=draws).shape
        (torch.Size([7]), torch.Size([7, 5]))
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
        self._traced.check_sites(trace)
        terms = trace.nodes[self._traced.name]["log_prob"]
        latent = [trace.nodes[name]["log_prob"].sum() for name in self._shapes]
        return sum(latent, terms.new_zeros(())), terms

    def _n_draws(self, draws: Draws) -> int | None:
        """How many draws there are; None for one without a dimension of its own."""
        known = {name: tuple(shape) for name, shape in self._shapes.items()}
        expected = f"the same latent sites {[*known]} at every run"
        check(draws.keys() == known.keys(), "model", expected, f"{[*draws]}")
        shapes = {name: tuple(value.shape) for name, value in draws.items()}
        leading = {shape[: len(shape) - len(known[name])] for name, shape in shapes.items()} or {()}
        fits = len(leading) == 1 and len(min(leading)) < 2
        fits = fits and all(shape == min(leading) + known[name] for name, shape in shapes.items())
        expected = f"values of shapes {known}, or of draws, with (S,) before that"
        check(fits, "draws", expected, f"shapes {shapes}")
        return min(leading)[0] if min(leading) else None

    def _evaluate(self, rows: Rows, draws: Draws) -> tuple[Tensor, ...]:
        if self._n_draws(draws) is None:
            return self._of_one(rows, draws)
        size = len(rows[0]) * self.values_per_row
        return evaluated(lambda draw: self._of_one(rows, draw), draws, size)

    def row_terms(self, *rows: Tensor, draws: Draws | None = None) -> Tensor:
        return self._evaluate(rows, draws or {})[1]

    def log_prior(self, draws: Draws) -> Tensor:
        return self._evaluate(self._rows, draws)[0]


def joint_of(model: Callable, rows: Rows) -> LogJoint:
    """Answers for the log joint density of any program."""
    return model if isinstance(model, LogJoint) else _TracedJoint(model, rows)
