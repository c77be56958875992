"""The components' log densities of many rows, block by block, without gradients.

A block is ``(D, B)``, features first, and so small that what is computed from it stays in the
processor's cache.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .components import Components
from .covariance import Covariance

__all__ = ["BlockEvaluator", "CenteredForm", "NaturalForm", "Scratch"]

# How large a log density's terms may be before the natural form's rounding error, about as many
# machine epsilons, is too much.
_MOST_CANCELING = {torch.float64: 1e7, torch.float32: 1e4}
_BLOCK_BYTES = {"cpu": 3 << 20}
_OTHER_BYTES = 256 << 20
_FEWEST_ROWS = 256
_MOST_ROWS = {"cpu": 8192}


class Scratch:
    """Memory for what is computed of a block, used again for the next blocks of a pass."""

    def __init__(self) -> None:
        self._held: dict[tuple[object, str], Tensor] = {}

    def empty(self, owner: object, name: str, like: Tensor, *shape: int) -> Tensor:
        """Returns a tensor with anything in it, the same one as long as the shape is the same."""
        held = self._held.get((owner, name))
        if held is None or held.shape != shape:
            held = self._held[owner, name] = like.new_empty(shape)
        return held


@dataclass(frozen=True, eq=False)
class NaturalForm:
    r"""Components as an exponential family: one matrix product evaluates all of them.

    .. math:: \log w_k \mathcal{N}(x \mid \mu_k, \Sigma_k)
        = c_k + (\Lambda_k (\mu_k - \mu))^T y - \tfrac12 \mathrm{tr}(\Lambda_k \, y y^T)

    with :math:`y = x - \mu` and the center :math:`\mu`: half the arithmetic of factored
    covariances, whose terms cancel where a component is narrow and far from the center.
    """

    coefficients: Tensor
    center: Tensor
    covariance: Covariance

    @property
    def n_terms(self) -> int:
        """The number of a row's terms: one, its entries, and their products."""
        n_features = len(self.center)
        return 1 + n_features + self.covariance.moments.n_products(n_features)

    @property
    def _n_written(self) -> int:
        n_features = len(self.center)
        return 1 + n_features + self.covariance.moments.n_rows(n_features)

    @property
    def values_per_row(self) -> int:
        """How many values are computed of a row."""
        return self._n_written + len(self.coefficients)

    def log_joint(self, x: Tensor, scratch: Scratch) -> tuple[Tensor, Tensor]:
        """Evaluates rows ``(D, B)``, shape ``(K, B)``; also returns their terms."""
        n_features = len(self.center)
        written = scratch.empty(self, "terms", x, self._n_written, x.shape[1])
        written[0] = 1
        y = self.centered_rows(written)
        torch.sub(x, self.center.unsqueeze(-1), out=y)
        self.covariance.moments.write_products(y, written[1 + n_features :])
        terms = written[: self.n_terms]
        log_joint = torch.mm(self.coefficients, terms)
        common = self.covariance.common_term(y)
        return log_joint if common is None else log_joint.add_(common), terms

    def centered_rows(self, terms: Tensor) -> Tensor:
        """The rows of terms less the center, ``(D, B)``."""
        return terms[1 : 1 + len(self.center)]

    @property
    def largest_value(self) -> float:
        """How large a row's entries may be, less the center, so that no term overflows."""
        limit = torch.finfo(self.coefficients.dtype).max / self.n_terms
        finite = self.coefficients[self.coefficients.isfinite()]  # a weight may be zero
        return math.sqrt(limit / max(1.0, finite.abs().max().item()))


@dataclass(frozen=True, eq=False)
class CenteredForm:
    """Components evaluated from deviations of the rows from each mean: exact, but costlier."""

    constant: Tensor
    means: Tensor
    whitener: Tensor
    covariance: Covariance

    @property
    def values_per_row(self) -> int:
        """How many values are computed of a row."""
        return 2 * self.means.numel()

    @property
    def largest_value(self) -> float:
        """How large a row's entries may be so that no term overflows."""
        limit = math.sqrt(torch.finfo(self.means.dtype).max / self.means.shape[1])
        largest = self.whitener.abs().sum(-1).max().item()
        return limit / max(1.0, largest) - self.means.abs().max().item()

    def log_joint(self, x: Tensor, scratch: Scratch) -> tuple[Tensor, Tensor]:
        """Evaluates rows ``(D, B)``, shape ``(K, B)``; also returns their deviations."""
        deviations = self.deviations(x, scratch)
        z = scratch.empty(self, "products", x, *deviations.shape)
        self.covariance.whiten_block(self.whitener, deviations, z)
        log_joint = torch.add(self.constant.unsqueeze(-1), z.square_().sum(1), alpha=-0.5)
        return log_joint, deviations

    def deviations(self, x: Tensor, scratch: Scratch) -> Tensor:
        """The deviations of rows ``(D, B)`` from each mean, ``(K, D, B)``."""
        out = scratch.empty(self, "deviations", x, *self.means.shape, x.shape[1])
        return torch.sub(x.contiguous(), self.means.unsqueeze(-1), out=out)

    def weighted(self, deviations: Tensor, responsibilities: Tensor, scratch: Scratch) -> Tensor:
        """Multiplies deviations, ``(K, D, B)``, by responsibilities ``(K, B)``."""
        out = scratch.empty(self, "products", deviations, *deviations.shape)
        return torch.mul(deviations, responsibilities.unsqueeze(1), out=out)


class BlockEvaluator:
    """Evaluates the components of one mixture, each in whichever form is right for it.

    Attributes:
        center: the mixture's mean, ``(D,)``.
        parts: the forms, and of which components each is.
    """

    def __init__(self, components: Components) -> None:
        log_weights, means = components.log_weights, components.means
        covariance, (n_components, n_features) = components.covariance, means.shape
        self._n_components = n_components
        self.center = log_weights.softmax(0) @ means
        constant = log_weights - 0.5 * (
            covariance.log_determinant(n_features) + n_features * math.log(2 * math.pi)
        )
        wide = torch.zeros(n_components, dtype=torch.bool, device=means.device)
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

    @cached_property
    def rows_per_block(self) -> int:
        """How many rows a block should have."""
        device = self.center.device.type
        per_row = self.center.itemsize * sum(form.values_per_row for _, form in self.parts)
        rows = max(_FEWEST_ROWS, _BLOCK_BYTES.get(device, _OTHER_BYTES) // per_row)
        return min(1 << rows.bit_length() - 1, _MOST_ROWS.get(device, 1 << 20))

    def log_joint(self, x: Tensor, scratch: Scratch) -> tuple[Tensor, list[Tensor]]:
        """Evaluates rows ``(D, B)``, shape ``(K, B)``; also returns what each form does."""
        if len(self.parts) == 1:
            log_joint, left = self.parts[0][1].log_joint(x, scratch)
            return log_joint, [left]
        log_joint, rest = x.new_empty(self._n_components, x.shape[1]), []
        for at, form in self.parts:
            log_joint[at], left = form.log_joint(x, scratch)
            rest.append(left)
        return log_joint, rest

    @cached_property
    def _largest(self) -> float:
        largest = min(form.largest_value for _, form in self.parts)
        return largest - self.center.abs().max().item()

    def overflows(self, x: Tensor) -> bool:
        """Whether rows ``(n, D)`` are so large that terms of the log densities overflow."""
        return max(map(abs, torch.stack(x.aminmax()).tolist())) > self._largest

    def map(self, x: Tensor, reduce: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Applies ``reduce(log_joint, component_dim)`` to blocks of rows ``(n, D)``.

        What ``reduce`` returns, ``(B,)`` or ``(K, B)``, comes back as ``(n,)`` or ``(n, K)``.
        """
        scratch = Scratch()
        blocks = x.split(self.rows_per_block) if len(x) > self.rows_per_block else (x,)
        parts = [reduce(self.log_joint(block.T, scratch)[0], 0) for block in blocks]
        whole = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        return whole.T if whole.dim() == 2 else whole
