"""The parameters of multivariate Gaussian mixtures, and what is done to batches of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from .covariance import Covariance

__all__ = ["Components"]


@dataclass(frozen=True, eq=False)
class Components:
    """Weights ``(..., K)``, means ``(..., K, D)`` and covariances, whose batches broadcast.

    Attributes:
        weights: which may be zero where they underflow.
        means: of the components.
        covariance: of the components.
        given_log_weights: the logarithms of weights that underflow as numbers, if they are known.
    """

    weights: Tensor
    means: Tensor
    covariance: Covariance
    given_log_weights: Tensor | None = None

    @property
    def batch_shape(self) -> torch.Size:
        """What the batches broadcast to."""
        shapes = self.weights.shape[:-1], self.means.shape[:-2], self.covariance.batch_shape
        if shapes[0] == shapes[1] == shapes[2]:
            return torch.Size(shapes[0])  # a tensor's subclass may have a plain tuple
        return torch.broadcast_shapes(*shapes)

    @property
    def log_weights(self) -> Tensor:
        """The logarithms of the weights; those of zero are minus infinity, with gradients of zero,
        if they are not known otherwise.
        """
        if self.given_log_weights is not None:
            return self.given_log_weights
        is_zero = self.weights == 0
        return torch.where(is_zero, 1, self.weights).log().masked_fill(is_zero, -math.inf)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Converts as :meth:`torch.Tensor.to` does."""
        return self._each(lambda t: t.to(*args, **kwargs), self.covariance.to(*args, **kwargs))

    def _each(self, function: Callable[[Tensor], Tensor], covariance: Covariance) -> Self:
        logarithms = self.given_log_weights
        return type(self)(
            function(self.weights),
            function(self.means),
            covariance,
            None if logarithms is None else function(logarithms),
        )

    def expand(self, batch_shape: Sequence[int]) -> Self:
        """Broadcasts all to ``batch_shape``."""
        shape = torch.Size(batch_shape)
        logarithms = self.given_log_weights
        return type(self)(
            self.weights.expand(*shape, -1),
            self.means.expand(*shape, -1, -1),
            self.covariance.expand(shape),
            None if logarithms is None else logarithms.expand(*shape, -1),
        )

    def reindex(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Applies ``function``, which may only touch the batch's dimensions, to all tensors."""
        return self._each(function, self.covariance.reindex(function))

    def single(self) -> Self:
        """The one mixture of a batch of one."""
        parts, n_batch = self.expand(self.batch_shape), len(self.batch_shape)
        return parts.reindex(lambda t: t.reshape(t.shape[n_batch:])) if n_batch else self

    @classmethod
    def stack(cls, parts: Sequence[Self]) -> Self:
        """Makes a batch, along a new first dimension."""
        covariance = type(parts[0].covariance).stack([part.covariance for part in parts])
        logarithms = None
        if any(part.given_log_weights is not None for part in parts):
            logarithms = torch.stack([part.log_weights for part in parts])
        weights, means = (
            torch.stack([getattr(part, name) for part in parts]) for name in ("weights", "means")
        )
        return cls(weights, means, covariance, logarithms)

    def tensors(self, *, computed: bool = False) -> dict[str, Tensor]:
        """Returns all tensors by name, for :meth:`from_tensors`.

        Args:
            computed: whether to add what was computed from them, so that nothing is computed anew.
        """
        named = {"weights": self.weights, "means": self.means}
        if self.given_log_weights is not None:
            named["log_weights"] = self.given_log_weights
        parts = self.covariance.tensors(computed=computed)
        # Not by "|", which the compiler of torch 2.6 does not know.
        return {**named, **{f"covariance.{name}": tensor for name, tensor in parts.items()}}

    @staticmethod
    def names(structure: type[Covariance]) -> set[str]:
        """The names of the tensors that there are at least, of a structure."""
        return {"weights", "means", *(f"covariance.{name}" for name in structure.arguments)}

    @classmethod
    def from_tensors(
        cls,
        tensors: dict[str, Tensor],
        structure: type[Covariance],
        *,
        validate_args: bool | None = False,
    ) -> Self:
        """Takes what :meth:`tensors` gave, of a structure."""
        prefix = "covariance."
        parts = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        covariance = structure.from_tensors(parts, validate_args=validate_args)
        weights, means = tensors["weights"], tensors["means"]
        return cls(weights, means, covariance, tensors.get("log_weights"))
