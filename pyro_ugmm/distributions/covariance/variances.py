"""Covariances whose components' features are uncorrelated: variances alone."""

from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor

from ...checks import check_values
from ...precision import full_precision
from ..completion import Completion, VarianceCompletion
from ..noisy_completion import NoisyMatrixCompletion, NoisyVarianceCompletion
from .base import Covariance

__all__ = ["VarianceCovariance"]


class VarianceCovariance(Covariance):
    """Covariances given as variances."""

    def __init__(self, variances: Tensor, *, validate_args: bool | None = None) -> None:
        self.values = variances
        super().__init__(variances, validate_args=validate_args)

    def check_positive_definite(self) -> None:
        valid = self.values.isfinite() & (self.values > 0)
        check_values("variances", self.values.detach(), valid, "finite positive values")

    @abstractmethod
    def _by_feature(self, tensor: Tensor, n_features: int) -> Tensor:
        """Gives a tensor in the shape of ``values`` a dimension for the features."""

    def whiten(self, deviations: Tensor) -> Tensor:
        return deviations * self._by_feature(self.values.rsqrt(), deviations.shape[-1])

    def color(self, noise: Tensor, index: Tensor) -> Tensor:
        scale = self._by_feature(self.values.sqrt(), noise.shape[-1])
        return noise * scale.reshape(-1, noise.shape[-1])[index]

    def log_determinant(self, n_features: int) -> Tensor:
        return self._by_feature(self.values.log(), n_features).sum(-1)

    def dense(self, n_components: int, n_features: int) -> Tensor:
        return self._by_feature(self.values, n_features).diag_embed()

    def conditional(self, kept: Tensor, given: Tensor) -> tuple[Covariance, Tensor]:
        return self.marginal(kept), self.values.new_zeros(1, len(kept), len(given))

    @full_precision
    def complete(self, x: Tensor, means: Tensor, noise: Tensor | None = None) -> Completion:
        variances = self._by_feature(self.values, x.shape[-1])
        if noise is None:
            return VarianceCompletion(x, means, variances)
        if noise.dim() == x.dim():
            return NoisyVarianceCompletion(x, means, variances, noise)
        return NoisyMatrixCompletion(x, means, variances.diag_embed(), noise)

    def regularized(self, floor: float) -> tuple[Self, Tensor]:
        variances = self.values + floor
        smallest = torch.finfo(variances.dtype).tiny ** 0.5
        is_raised = variances < smallest
        covariance = type(self)(variances.clamp(min=smallest), validate_args=False)
        return covariance, is_raised.reshape(*self._leading("variances"), -1).any(-1)

    def precisions(self) -> tuple[Tensor, Tensor]:
        """Returns the inverses of the variances, and of the standard deviations."""
        return self.values.reciprocal(), self.values.rsqrt()

    @classmethod
    def from_precisions(cls, precisions: Tensor) -> Self:
        """Takes the inverses of variances; whether these are positive is not checked."""
        return cls(precisions.reciprocal(), validate_args=False)
