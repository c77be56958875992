"""What a model was made with, for files."""

from abc import abstractmethod
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

__all__ = ["HasArguments"]


@runtime_checkable
class HasArguments(Protocol):
    """A model that says what it was made with, so that it can be made again.

    Example:
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> BayesianGaussianMixture(2, 1).arguments()["n_components"]
        2
    """

    priors: Any

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What the model was made with, priors excepted, as JSON can hold it."""

    @classmethod
    def from_arguments(
        cls, arguments: dict[str, Any], priors: Any, dtype: torch.dtype, state: dict[str, Tensor]
    ) -> Self:
        """Makes a model again, whose ``state`` is to be loaded next."""
        return cls(**arguments, priors=priors).to(dtype)  # type: ignore[call-arg, attr-defined]
