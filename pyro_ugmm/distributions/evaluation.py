"""Evaluation of a Gaussian mixture at rows: with gradients, or in blocks without."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..kept import Kept
from ..missing_values import mixture_rule
from ..precision import full_precision
from ..tracking import is_tracked, known_to_hold
from .blocks import BlockEvaluator
from .covariance import Covariance
from .far_rows import far_log_prob, settle_far_rows
from .missing import observed_log_density
from .steep import is_gentle

__all__ = ["Reduction", "RowEvaluator", "log_weights"]

Reduction = Callable[[Tensor, int], Tensor]
"""What becomes of joint log densities along the dimension of the components."""

_COMPLETION_ENTRIES = 4_000_000


def log_weights(weights: Tensor) -> Tensor:
    """Takes logarithms; those of zero are minus infinity, with gradients of zero."""
    is_zero = weights == 0
    return torch.where(is_zero, 1, weights).log().masked_fill(is_zero, -math.inf)


class RowEvaluator:
    """The joint log densities of rows and components, reduced over the components.

    Without gradients, and without a batch, rows are evaluated block by block; what that needs
    of the parameters is computed once and kept until these hold other numbers.

    Args:
        weights: shape ``(..., K)``.
        means: shape ``(..., K, D)``.
        covariance: of the components.
        missing: what NaN means.

    Attributes:
        given_log_weights: the logarithms of weights that underflow as numbers, or ``None``.
    """

    def __init__(
        self, weights: Tensor, means: Tensor, covariance: Covariance, missing: str
    ) -> None:
        self._weights, self._means, self._covariance = weights, means, covariance
        self.given_log_weights: Tensor | None = None
        self._marginalizes = mixture_rule(missing).takes_nan
        self.batch_shape = torch.broadcast_shapes(
            weights.shape[:-1], means.shape[:-2], covariance.batch_shape
        )
        self._kept = Kept()

    @property
    def log_weights(self) -> Tensor:
        """The logarithms of the weights."""
        given = self.given_log_weights
        return log_weights(self._weights) if given is None else given

    @full_precision
    def evaluate(self, x: Tensor, reduce: Reduction) -> Tensor:
        """Reduces the joint log densities of rows ``(..., D)``, broadcast with the batch."""
        tensors = x, *self._tensors
        differentiates = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        is_batch = self.batch_shape.numel() > 1
        if differentiates or is_batch or not x.numel() or is_tracked(*tensors):
            return self._reduced(x, reduce)
        with torch.no_grad():
            result = self._evaluate_rows(x.reshape(-1, x.shape[-1]), reduce)
        added = (1,) * (len(self.batch_shape) - x.dim() + 1)
        return result.reshape(added + x.shape[:-1] + result.shape[1:])

    @property
    def _tensors(self) -> tuple[Tensor, ...]:
        given = self.given_log_weights
        return self._weights if given is None else given, self._means, self._covariance.values

    def _log_joint(self, x: Tensor) -> Tensor:
        log_density = (
            observed_log_density(x, self._means, self._covariance.dense(*self._means.shape[-2:]))
            if self._marginalizes and not known_to_hold(~x.isnan())
            else self._covariance.log_density(x, self._means)
        )
        return self.log_weights + log_density

    def _evaluate_rows(self, x: Tensor, reduce: Reduction) -> Tensor:
        is_partial = x.isnan().any(-1) if self._marginalizes else x.new_zeros(0, dtype=torch.bool)
        if not is_partial.any():
            return self._map(x, reduce)
        partial, complete = is_partial.nonzero()[:, 0], (~is_partial).nonzero()[:, 0]
        log_weights, means, covariance = self._unbatched()
        step = max(1, _COMPLETION_ENTRIES // (means.numel() * means.shape[1]))
        parts = []
        for at in partial.split(step):
            log_joint = log_weights + covariance.complete(x[at], means).log_density
            if reduce is not torch.logsumexp:
                log_joint = settle_far_rows(log_joint, x[at], log_weights, means, covariance)
            parts.append(reduce(log_joint, 1))
        if len(complete):
            parts.append(self._map(x[complete], reduce))
        return torch.cat(parts)[torch.cat([partial, complete]).argsort()]

    def _map(self, x: Tensor, reduce: Reduction) -> Tensor:
        blocks = self._blocks()
        if not blocks.overflows(x):
            return blocks.map(x, reduce)
        rows = x.split(blocks.rows_per_block)
        return torch.cat([self._reduced(part, reduce) for part in rows])

    def _reduced(self, x: Tensor, reduce: Reduction) -> Tensor:
        log_joint = self._log_joint(x)
        components = self.log_weights, self._means, self._covariance
        if reduce is torch.logsumexp:
            result = reduce(log_joint, -1)
            return result if is_gentle(result) else far_log_prob(log_joint, x, *components)
        return reduce(settle_far_rows(log_joint, x, *components), -1)

    def _unbatched(self) -> tuple[Tensor, Tensor, Covariance]:
        covariance, n_batch = self._covariance, len(self._covariance.batch_shape)
        if n_batch:
            covariance = covariance.reindex(lambda t: t.reshape(t.shape[n_batch:]))
        means = self._means.reshape(self._means.shape[-2:])
        return self.log_weights.reshape(-1), means, covariance

    def _blocks(self) -> BlockEvaluator:
        with torch.inference_mode(False), torch.no_grad():
            return self._kept.get(
                "blocks", self._tensors, lambda: BlockEvaluator(*self._unbatched())
            )
