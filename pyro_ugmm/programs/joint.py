"""The log joint density of a program, row by row, for training, curvature and leaving rows out."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..checks import check
from .draws import evaluated
from .plates import plates_of
from .traced import Draws, Rows, Traced, count_rows

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
    def row_terms(self, *rows: Any, draws: Draws | None = None) -> Tensor:
        """What each row adds to the log joint density: ``(n,)``, or ``(S, n)``."""

    @abstractmethod
    def log_prior(self, draws: Draws) -> Tensor:
        """The log density of all latent sites: ``()``, or ``(S,)``."""

    @abstractmethod
    def site_terms(self, *rows: Any, draws: Draws) -> dict[str, Tensor]:
        """The terms of each observed site by themselves, with a dimension for each plate."""

    def log_joint(self, *rows: Any, draws: Draws) -> tuple[Tensor, Tensor]:
        """The log prior and the rows' terms, of which the sum is the log joint density."""
        return self.log_prior(draws), self.row_terms(*rows, draws=draws)


class _TracedJoint:
    """The log joint density of a plain program, of which one run gives all parts."""

    has_likelihood = True

    def __init__(self, model: Callable, rows: Rows) -> None:
        self._traced, self._rows = Traced(model, rows), rows
        self._shapes = {name: node["value"].shape for name, node in self._traced.latent.items()}
        shared = {plate for plates in self._traced.terms.values() for plate in plates}
        nodes = (self._traced.latent | self._traced.observed).values()
        self.values_per_row = 1 + max((_size_apart(node, shared) for node in nodes), default=0)

    def _of_one(self, rows: Rows, draw: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        log_prior, terms = self._traced.densities(self._traced.scored(rows, draw))
        return log_prior, {name: term.value for name, term in terms.items()}

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

    def _evaluate(self, rows: Rows, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        if self._n_draws(draws) is None:
            return self._of_one(rows, draws)
        size = count_rows(rows) * self.values_per_row
        return evaluated(lambda draw: self._of_one(rows, draw), draws, size)

    def row_terms(self, *rows: Any, draws: Draws | None = None) -> Tensor:
        return self.log_joint(*rows, draws=draws or {})[1]

    def log_prior(self, draws: Draws) -> Tensor:
        return self.log_joint(*self._rows, draws=draws)[0]

    def site_terms(self, *rows: Any, draws: Draws) -> dict[str, Tensor]:
        return self._evaluate(rows, draws)[1]

    def log_joint(self, *rows: Any, draws: Draws) -> tuple[Tensor, Tensor]:
        log_prior, terms = self._evaluate(rows, draws)
        flat = [term.reshape(*log_prior.shape, -1) for term in terms.values()]
        return log_prior, torch.cat(flat, -1)


def _size_apart(node: Mapping[str, Any], shared: set[str]) -> int:
    """How many numbers a site has, for each element of the plates that are shared."""
    size = node["value"].numel()
    for frame in plates_of(node):
        size //= frame.size if frame.name in shared else 1
    return size


def joint_of(model: Callable, rows: Rows) -> LogJoint:
    """Answers for the log joint density of any program."""
    return model if isinstance(model, LogJoint) else _TracedJoint(model, rows)
