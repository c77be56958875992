"""What is known of a mixture's rows beside their values, for a Bayesian mixture."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..checks import check
from ..distributions import GaussianMixture
from ..distributions.covariance.sums import with_errors
from ..distributions.noise import checked_noise
from ..em.known_rows import checked_labels
from ..tables import as_vector

__all__ = ["ROW_KNOWLEDGE", "RowKnowledge"]


class RowKnowledge(ABC):
    """One kind of it, as tensors that go with the rows; a namespace of functions."""

    dims: ClassVar[dict[str, list[str]]] = {}
    """What its name and its dimensions are."""

    @staticmethod
    @abstractmethod
    def checked(
        given: Any, shape: tuple[int, ...], like: Tensor, n_components: int
    ) -> tuple[Tensor, ...]:
        """Checks what was given for rows of a shape, and returns it as tensors like theirs."""

    @classmethod
    def of_drawn(cls, given: Any, size: int | None, means: Tensor) -> tuple[Tensor, ...]:
        """Checks what was given, if anything, for rows that are to be drawn, so many or as many
        as it is for, from components like those with means ``(K, D)``.
        """
        if given is None:
            return ()
        n_rows = next(iter(as_vector("y", given).shape), 1)
        check(size in (None, n_rows), "size", f"{n_rows}, as y is of so many rows", size)
        return cls.checked(given, (n_rows, means.shape[1]), means, len(means))

    @staticmethod
    @abstractmethod
    def observation(mixture: GaussianMixture, known: Tensor) -> GaussianMixture:
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
    def checked(
        given: Any, shape: tuple[int, ...], like: Tensor, n_components: int
    ) -> tuple[Tensor, ...]:
        expected = "nothing: a mixture has no labels (given='labels' or 'noise' takes some)"
        check(given is None, "y", expected, type(given).__name__)
        return ()

    @staticmethod
    def observation(mixture: GaussianMixture, known: Tensor) -> GaussianMixture:
        return mixture

    @staticmethod
    def none(x: Tensor) -> tuple[Tensor, ...]:
        return ()


class _Labels(RowKnowledge):
    """Their component, or -1: of a row that is known, the others have no density."""

    dims = {"labels": ["observation"]}

    @staticmethod
    def checked(
        given: Any, shape: tuple[int, ...], like: Tensor, n_components: int
    ) -> tuple[Tensor, ...]:
        check(given is not None, "y", "labels, as the model has given='labels'", "None")
        return (checked_labels(given, shape[0], n_components, "y").to(like.device),)

    @staticmethod
    def observation(mixture: GaussianMixture, known: Tensor) -> GaussianMixture:
        label = known.unsqueeze(-1)
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
    def checked(
        given: Any, shape: tuple[int, ...], like: Tensor, n_components: int
    ) -> tuple[Tensor, ...]:
        check(given is not None, "y", "variances or covariances, as it has given='noise'", "None")
        return (checked_noise(given, shape, like, "y"),)

    @staticmethod
    def observation(mixture: GaussianMixture, known: Tensor) -> GaussianMixture:
        are_variances = known.dim() == 2
        wide = with_errors(mixture.covariance, known, mixture.means, are_variances=are_variances)
        return mixture.with_covariance(wide, mixture.missing)

    @staticmethod
    def none(x: Tensor) -> tuple[Tensor, ...]:
        return (torch.zeros_like(x),)


ROW_KNOWLEDGE: dict[str | None, type[RowKnowledge]] = {
    None: _Nothing,
    "labels": _Labels,
    "noise": _Noise,
}
