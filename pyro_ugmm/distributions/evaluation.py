"""Evaluation of a Gaussian mixture at rows: with gradients, or in blocks without."""

import torch
from torch import Tensor

from ..kept import Kept
from ..missing_values import mixture_rule
from ..precision import full_precision
from ..tracking import is_tracked, known_to_hold
from .blocks import BlockEvaluator
from .completion import incomplete_rows_at_once, observed_log_density
from .components import Components
from .reductions import LogDensity, Reduction
from .shared_rows import log_prob_of_shared_rows

__all__ = ["RowEvaluator"]


class RowEvaluator:
    """The joint log densities of rows and components, reduced over the components.

    Without gradients, and without a batch, rows are evaluated block by block; what that needs
    of the components is computed once and kept until these hold other numbers.

    Args:
        components: whose batches broadcast.
        missing: what NaN means.
        kept: what is known of the components.
    """

    def __init__(self, components: Components, missing: str, kept: Kept) -> None:
        self._components, self._kept = components, kept
        self._tensors = tuple(components.tensors().values())
        self._marginalizes = mixture_rule(missing).takes_nan

    @full_precision
    def evaluate(self, x: Tensor, reduction: Reduction) -> Tensor:
        """Reduces the joint log densities of rows ``(..., D)``, broadcast with the batch."""
        tensors = x, *self._tensors
        differentiates = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        batch_shape = self._components.batch_shape
        is_batch = batch_shape.numel() > 1
        if is_batch and isinstance(reduction, LogDensity) and not self._has_missing(x):
            log_prob = log_prob_of_shared_rows(
                x, self._components, lambda x, few: self._reduced(x, few, reduction)
            )
            if log_prob is not None:
                return log_prob
        if differentiates or is_batch or not x.numel() or is_tracked(*tensors):
            return self._reduced(x, self._components, reduction)
        with torch.no_grad():
            result = self._evaluate_rows(x.reshape(-1, x.shape[-1]), reduction)
        added = (1,) * (len(batch_shape) - x.dim() + 1)
        return result.reshape(added + x.shape[:-1] + result.shape[1:])

    def _has_missing(self, x: Tensor) -> bool:
        return self._marginalizes and not known_to_hold(~x.isnan())

    def _reduced(self, x: Tensor, components: Components, reduction: Reduction) -> Tensor:
        means, covariance = components.means, components.covariance
        if self._has_missing(x):
            log_density = observed_log_density(x, means, covariance.dense(*means.shape[-2:]))
        else:
            log_density = covariance.log_density(x, means)
        return reduction.of_rows(components.log_weights + log_density, x, components)

    def _evaluate_rows(self, x: Tensor, reduction: Reduction) -> Tensor:
        if not self._has_missing(x):
            return self._in_blocks(x, reduction)
        is_partial = x.isnan().any(-1)
        partial, complete = is_partial.nonzero()[:, 0], (~is_partial).nonzero()[:, 0]
        parts = [self._completed(x[partial], reduction)]
        if len(complete):
            parts.append(self._in_blocks(x[complete], reduction))
        return torch.cat(parts)[torch.cat([partial, complete]).argsort()]

    def _completed(self, x: Tensor, reduction: Reduction) -> Tensor:
        """Evaluates rows of which something is missing."""
        one = self._components.single()
        parts = []
        for part in x.split(incomplete_rows_at_once(one.means)):
            log_density = one.covariance.complete(part, one.means).log_density
            parts.append(reduction.of_rows(one.log_weights + log_density, part, one))
        return torch.cat(parts)

    def _in_blocks(self, x: Tensor, reduction: Reduction) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            blocks = self._kept.get(
                "blocks", self._tensors, lambda: BlockEvaluator(self._components.single())
            )
        if not blocks.overflows(x):
            return blocks.map(x, reduction.reduce)
        rows = x.split(blocks.rows_per_block)
        return torch.cat([self._reduced(part, self._components, reduction) for part in rows])
