"""The components' log densities of many rows, block by block, without gradients.

A block is ``(D, B)``, features first, and so small that what is computed from it stays in the
processor's cache.
"""

import math
from collections.abc import Callable
from copy import copy

import torch
from torch import Tensor

from .covariance import Covariance

__all__ = ["BlockEvaluator", "CenteredForm", "NaturalForm"]

# How large a log density's terms may be before the natural form's rounding error, about as many
# machine epsilons, is too much.
_MOST_CANCELING = {torch.float64: 1e7, torch.float32: 1e4}
_BLOCK_BYTES = {"cpu": 3 << 20}
_OTHER_BYTES = 256 << 20
_FEWEST_ROWS = 256
_MOST_ROWS = {"cpu": 8192}


class NaturalForm:
    r"""Components as an exponential family: one matrix product evaluates all of them.

    .. math:: \log w_k \mathcal{N}(x \mid \mu_k, \Sigma_k)
        = c_k + (\Lambda_k (\mu_k - \mu))^T y - \tfrac12 \mathrm{tr}(\Lambda_k \, y y^T)

    with :math:`y = x - \mu` and the center :math:`\mu`: half the arithmetic of factored
    covariances, whose terms cancel where a component is narrow and far from the center.
    """

    def __init__(self, coefficients: Tensor, center: Tensor, covariance: Covariance) -> None:
        self._coefficients = coefficients
        self.center = center
        self._moments = covariance.moments
        self._common_term = covariance.common_term
        self._n_features = n_features = len(center)
        self._n_rows = 1 + n_features + self._moments.n_rows(n_features)
        self.n_terms = 1 + n_features + self._moments.n_products(n_features)
        self._buffer: Tensor | None = None
        self.terms = center
        self.values_per_row = self._n_rows + len(coefficients)

    def log_joint(self, x: Tensor) -> Tensor:
        """Evaluates rows ``(D, B)``, shape ``(K, B)``; keeps their terms in ``terms``."""
        n_features = self._n_features
        if self._buffer is None or self._buffer.shape[1] != x.shape[1]:
            self._buffer = x.new_empty(self._n_rows, x.shape[1])
            self._buffer[0] = 1
        y = self._buffer[1 : 1 + n_features]
        torch.sub(x, self.center.unsqueeze(-1), out=y)
        self._moments.write_products(y, self._buffer[1 + n_features :])
        self.terms = self._buffer[: self.n_terms]
        log_joint = torch.mm(self._coefficients, self.terms)
        common = self._common_term(y)
        return log_joint if common is None else log_joint.add_(common)

    @property
    def centered_rows(self) -> Tensor:
        """The block's rows less the center, ``(D, B)``."""
        return self.terms[1 : 1 + self._n_features]

    def __copy__(self) -> "NaturalForm":
        other = object.__new__(NaturalForm)
        other.__dict__.update(self.__dict__, _buffer=None)
        return other

    @property
    def largest_value(self) -> float:
        """How large a row's entries may be, less the center, so that no term overflows."""
        limit = torch.finfo(self._coefficients.dtype).max / self.n_terms
        finite = self._coefficients[self._coefficients.isfinite()]  # a weight may be zero
        return math.sqrt(limit / max(1.0, finite.abs().max().item()))


class CenteredForm:
    """Components evaluated from deviations of the rows from each mean: exact, but costlier."""

    def __init__(
        self, constant: Tensor, means: Tensor, whitener: Tensor, covariance: Covariance
    ) -> None:
        self._constant = constant.unsqueeze(-1)
        self._means = means.unsqueeze(-1)
        self._whitener = whitener
        self._whiten = covariance.whiten_block
        self._buffer: Tensor | None = None
        self.values_per_row = 2 * means.numel()

    @property
    def largest_value(self) -> float:
        """How large a row's entries may be so that no term overflows."""
        limit = math.sqrt(torch.finfo(self._means.dtype).max / self._means.shape[1])
        largest = self._whitener.abs().sum(-1).max().item()
        return limit / max(1.0, largest) - self._means.abs().max().item()

    def log_joint(self, x: Tensor) -> Tensor:
        """Evaluates rows ``(D, B)``, shape ``(K, B)``; keeps their deviations."""
        if self._buffer is None or self._buffer.shape[-1] != x.shape[1]:
            self._buffer = x.new_empty(2, *self._means.shape[:2], x.shape[1])
        self.deviations, z = self._buffer
        torch.sub(x.contiguous(), self._means, out=self.deviations)
        self._whiten(self._whitener, self.deviations, z)
        return torch.add(self._constant, z.square_().sum(1), alpha=-0.5)

    def weighted(self, responsibilities: Tensor) -> Tensor:
        """Multiplies the block's deviations, ``(K, D, B)``, by responsibilities ``(K, B)``."""
        assert self._buffer is not None
        return torch.mul(self.deviations, responsibilities.unsqueeze(1), out=self._buffer[1])

    def __copy__(self) -> "CenteredForm":
        other = object.__new__(CenteredForm)
        other.__dict__.update(self.__dict__, _buffer=None)
        return other


class BlockEvaluator:
    """Evaluates components in whichever form is right for each.

    Args:
        log_weights: shape ``(K,)``.
        means: shape ``(K, D)``.
        covariance: of a mixture without a batch.
    """

    def __init__(self, log_weights: Tensor, means: Tensor, covariance: Covariance) -> None:
        n_components, n_features = means.shape
        self._n_components = n_components
        self._largest: float | None = None
        self.center = log_weights.softmax(0) @ means
        constant = log_weights - 0.5 * (
            covariance.log_determinant(n_features) + n_features * math.log(2 * math.pi)
        )
        wide = torch.zeros(n_components, dtype=torch.bool)
        if n_components >= covariance.natural_from:
            deviations = means - self.center
            wide = covariance.canceling(deviations) <= _MOST_CANCELING.get(means.dtype, 0.0)
        n_wide = int(wide.sum())
        if n_wide < covariance.natural_from:
            n_wide = 0
        self.parts: list[tuple[Tensor | slice, NaturalForm | CenteredForm]] = []
        every = slice(None)
        if n_wide:
            linear, quadratic = covariance.natural(deviations)
            offset = constant - 0.5 * (linear * deviations).sum(-1)
            coefficients = torch.cat([offset.unsqueeze(-1), linear, quadratic], -1)
            at = every if n_wide == n_components else wide.nonzero()[:, 0]
            self.parts.append((at, NaturalForm(coefficients[at], self.center, covariance)))
        if n_wide < n_components:
            at = every if n_wide == 0 else (~wide).nonzero()[:, 0]
            whitener = covariance.whitener(n_components)[at]
            self.parts.append((at, CenteredForm(constant[at], means[at], whitener, covariance)))

    @property
    def rows_per_block(self) -> int:
        """How many rows a block should have."""
        device = self.center.device.type
        per_row = self.center.itemsize * sum(form.values_per_row for _, form in self.parts)
        rows = max(_FEWEST_ROWS, _BLOCK_BYTES.get(device, _OTHER_BYTES) // per_row)
        return min(1 << rows.bit_length() - 1, _MOST_ROWS.get(device, 1 << 20))

    def log_joint(self, x: Tensor) -> Tensor:
        """Evaluates rows ``(D, B)``, shape ``(K, B)``."""
        if len(self.parts) == 1:
            return self.parts[0][1].log_joint(x)
        log_joint = x.new_empty(self._n_components, x.shape[1])
        for at, form in self.parts:
            log_joint[at] = form.log_joint(x)
        return log_joint

    def overflows(self, x: Tensor) -> bool:
        """Whether rows ``(n, D)`` are so large that terms of the log densities overflow."""
        if self._largest is None:
            largest = min(form.largest_value for _, form in self.parts)
            self._largest = largest - self.center.abs().max().item()
        return max(map(abs, torch.stack(x.aminmax()).tolist())) > self._largest

    def map(self, x: Tensor, reduce: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Applies ``reduce(log_joint, component_dim)`` to blocks of rows ``(n, D)``.

        What ``reduce`` returns, ``(B,)`` or ``(K, B)``, comes back as ``(n,)`` or ``(n, K)``.
        """
        mine = copy(self)
        mine.parts = [(at, copy(form)) for at, form in self.parts]  # threads may share this one
        parts = [reduce(mine.log_joint(part.T), 0) for part in x.split(self.rows_per_block)]
        whole = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        return whole.T if whole.dim() == 2 else whole
