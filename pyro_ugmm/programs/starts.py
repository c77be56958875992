"""Places to start from, drawn at random, for several fits of one program."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from .simulation import simulation_of
from .traced import Rows

__all__ = ["DrawsStarts", "draw_start"]


@runtime_checkable
class DrawsStarts(Protocol):
    """A model that draws point estimates to start from.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> BayesianGaussianMixture(2, 1).draw_start(torch.randn(20, 1)).means.shape
        torch.Size([2, 1])
    """

    @abstractmethod
    def draw_start(self, *rows: Tensor) -> Any:
        """Draws one as the model's guides take it, for rows like these."""


def draw_start(model: Callable, rows: Rows) -> Any:
    """Draws a point estimate of any program: of a plain one, values from its prior."""
    if isinstance(model, DrawsStarts):
        return model.draw_start(*rows)
    draws = simulation_of(model, rows).sample_prior(1)
    return {name: value.squeeze(0) for name, value in draws.items()}
