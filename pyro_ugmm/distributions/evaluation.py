"""Evaluation of a Gaussian mixture at rows: with gradients, or in blocks without."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..kept import Kept
from ..precision import full_precision
from ..tracking import is_tracked, known_to_hold
from .blocks import BlockEvaluator
from .components import Components
from .far_rows import far_log_prob, settle_far_rows
from .missing import observed_log_density
from .steep import is_gentle

__all__ = ["Reduction", "RowEvaluator"]

Reduction = Callable[[Tensor, int], Tensor]
"""What becomes of joint log densities along the dimension of the components."""

_COMPLETION_ENTRIES = 4_000_000


class RowEvaluator:
    """The joint log densities of rows and components, reduced over the components.

    Without gradients, and without a batch, rows are evaluated block by block; what that needs
    of the parameters is computed once and kept until these hold other numbers.

    Args:
        components: whose batches broadcast.
        missing: what NaN means.
    """

    def __init__(self, components: Components, missing: str) -> None:
        self._components = components
        self._marginalizes = missing == "marginalize"
        self._kept = Kept()

    @full_precision
    def evaluate(self, x: Tensor, reduce: Reduction) -> Tensor:
        """Reduces the joint log densities of rows ``(..., D)``, broadcast with the batch."""
        tensors = x, *self._tensors
        differentiates = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        batch_shape = self._components.batch_shape
        is_batch = batch_shape.numel() > 1
        if differentiates or is_batch or not x.numel() or is_tracked(*tensors):
            return self._reduced(x, reduce)
        with torch.no_grad():
            result = self._evaluate_rows(x.reshape(-1, x.shape[-1]), reduce)
        added = (1,) * (len(batch_shape) - x.dim() + 1)
        return result.reshape(added + x.shape[:-1] + result.shape[1:])

    @property
    def _tensors(self) -> tuple[Tensor, ...]:
        return tuple(self._components.tensors().values())

    def _log_joint(self, x: Tensor) -> Tensor:
        means, covariance = self._components.means, self._components.covariance
        if self._marginalizes and not known_to_hold(~x.isnan()):
            log_density = observed_log_density(x, means, covariance.dense(*means.shape[-2:]))
        else:
            log_density = covariance.log_density(x, means)
        return self._components.log_weights + log_density

    def _evaluate_rows(self, x: Tensor, reduce: Reduction) -> Tensor:
        is_partial = x.isnan().any(-1) if self._marginalizes else x.new_zeros(0, dtype=torch.bool)
        if not is_partial.any():
            return self._map(x, reduce)
        partial, complete = is_partial.nonzero()[:, 0], (~is_partial).nonzero()[:, 0]
        one = self._components.single()
        log_weights, means, covariance = one.log_weights, one.means, one.covariance
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
        log_joint, parts = self._log_joint(x), self._components
        components = parts.log_weights, parts.means, parts.covariance
        if reduce is torch.logsumexp:
            result = reduce(log_joint, -1)
            return result if is_gentle(result) else far_log_prob(log_joint, x, *components)
        return reduce(settle_far_rows(log_joint, x, *components), -1)

    def _blocks(self) -> BlockEvaluator:
        def make() -> BlockEvaluator:
            one = self._components.single()
            return BlockEvaluator(one.log_weights, one.means, one.covariance)

        with torch.inference_mode(False), torch.no_grad():
            return self._kept.get("blocks", self._tensors, make)
