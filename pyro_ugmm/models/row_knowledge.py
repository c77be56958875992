"""What is known of a mixture's rows beside their values, for a Bayesian mixture."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..checks import check
from ..distributions import GaussianMixture
from ..distributions.noise import checked_noise
from ..em.known_rows import checked_labels

__all__ = ["ROW_KNOWLEDGE", "RowKnowledge"]


class RowKnowledge(ABC):
    """One kind of it, as tensors that go with the rows; a namespace of functions."""

    dims: ClassVar[dict[str, list[str]]] = {}
    """What its name and its dimensions are."""

    @staticmethod
    @abstractmethod
    def checked(given: Any, x: Tensor, n_components: int) -> tuple[Tensor, ...]:
        """Checks what was given for rows, and returns it as tensors where they are."""

    @staticmethod
    @abstractmethod
    def observation(mixture: GaussianMixture, *known: Tensor) -> GaussianMixture:
        """The mixtures that rows come from, given one, or draws of batch shape ``(S, 1)``."""

    @staticmethod
    def of_start(*known: Tensor) -> dict[str, Any]:
        """What a start by k-means takes of it."""
        return {}

    @staticmethod
    @abstractmethod
    def none(x: Tensor) -> tuple[Tensor, ...]:
        """What says nothing of rows."""


class _Nothing(RowKnowledge):
    """That nothing is."""

    @staticmethod
    def checked(given: Any, x: Tensor, n_components: int) -> tuple[Tensor, ...]:
        expected = "nothing: a mixture has no labels (given='labels' or 'noise' takes some)"
        check(given is None, "y", expected, type(given).__name__)
        return ()

    @staticmethod
    def observation(mixture: GaussianMixture, *known: Tensor) -> GaussianMixture:
        return mixture

    @staticmethod
    def none(x: Tensor) -> tuple[Tensor, ...]:
        return ()


class _Labels(RowKnowledge):
    """Their component, or -1: of a row that is known, the others have no density."""

    dims = {"labels": ["observation"]}

    @staticmethod
    def checked(given: Any, x: Tensor, n_components: int) -> tuple[Tensor, ...]:
        check(given is not None, "y", "labels, as the model has given='labels'", "None")
        return (checked_labels(given, len(x), n_components, "y").to(x.device),)

    @staticmethod
    def observation(mixture: GaussianMixture, *known: Tensor) -> GaussianMixture:
        label = known[0].unsqueeze(-1)
        others = (label >= 0) & (label != torch.arange(mixture.n_components, device=label.device))
        weights = mixture.weights.masked_fill(others, 0)
        return mixture.with_parameters(weights, mixture.means, mixture.covariance)

    @staticmethod
    def of_start(*known: Tensor) -> dict[str, Any]:
        return {"labels": known[0]}

    @staticmethod
    def none(x: Tensor) -> tuple[Tensor, ...]:
        return (torch.full((len(x),), -1, device=x.device),)


class _Noise(RowKnowledge):
    """The variances or covariances of errors with which they were measured."""

    dims = {"noise": ["observation", "feature"]}

    @staticmethod
    def checked(given: Any, x: Tensor, n_components: int) -> tuple[Tensor, ...]:
        check(given is not None, "y", "variances or covariances, as it has given='noise'", "None")
        return (checked_noise(given, x.shape, "y").to(x),)

    @staticmethod
    def observation(mixture: GaussianMixture, *known: Tensor) -> GaussianMixture:
        (noise,) = known
        return mixture.convolve(noise if noise.dim() == 3 else noise.diag_embed())

    @staticmethod
    def none(x: Tensor) -> tuple[Tensor, ...]:
        return (torch.zeros_like(x),)


ROW_KNOWLEDGE: dict[str | None, type[RowKnowledge]] = {
    None: _Nothing,
    "labels": _Labels,
    "noise": _Noise,
}
