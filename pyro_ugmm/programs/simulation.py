"""Draws of a program's latent sites, and of rows, for predictive checks."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from pyro import poutine
from torch import Tensor

from .draws import repeated
from .traced import Draws, Rows, Traced, run

__all__ = ["Simulation", "simulation_of"]


@runtime_checkable
class Simulation(Protocol):
    """A model that draws from its prior, and rows under many draws at once.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> model = BayesianGaussianMixture(2, 1)
        >>> draws = model.sample_prior(7)
        >>> model.sample_rows(torch.zeros(5, 1), draws=draws)["x"].shape
        torch.Size([7, 5, 1])
    """

    @abstractmethod
    def sample_prior(self, num_samples: int) -> dict[str, Tensor]:
        """Draws all latent sites, ``(S,)`` and their shapes."""

    @abstractmethod
    def sample_rows(self, *rows: Any, draws: Draws) -> dict[str, Tensor]:
        """Draws as many rows as there are under each draw, ``(S, n)`` and a row's shape.

        By observed site.
        """


class _TracedSimulation:
    """Draws of a plain program, which is run without regard to what was observed."""

    def __init__(self, model: Callable, rows: Rows) -> None:
        self._traced, self._rows = Traced(model, rows), rows

    def _run(self, rows: Rows, draw: Draws) -> poutine.Trace:
        trace = run(poutine.uncondition(self._traced.model), rows, draw)
        self._traced.check_sites(trace)
        return trace

    def sample_prior(self, num_samples: int) -> dict[str, Tensor]:
        def one(_: int) -> dict[str, Tensor]:
            nodes = self._run(self._rows, {}).nodes
            return {name: nodes[name]["value"] for name in self._traced.latent}

        return repeated(one, num_samples)

    def sample_rows(self, *rows: Any, draws: Draws) -> dict[str, Tensor]:
        def one(i: int) -> dict[str, Tensor]:
            nodes = self._run(rows, {name: value[i] for name, value in draws.items()}).nodes
            return {name: nodes[name]["value"] for name in self._traced.observed}

        return repeated(one, len(next(iter(draws.values()))))


def simulation_of(model: Callable, rows: Rows) -> Simulation:
    """Answers for draws of any program."""
    return model if isinstance(model, Simulation) else _TracedSimulation(model, rows)
