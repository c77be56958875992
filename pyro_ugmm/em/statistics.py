"""The sums over rows from which a Gaussian mixture's parameters are estimated."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from ..accumulation import double
from ..checks import check
from ..distributions import GaussianMixture
from ..distributions.covariance import Covariance

__all__ = ["SufficientStatistics"]

_SUMS = ("mass", "first", "second", "log_likelihood", "weight")


@dataclass(frozen=True, eq=False)
class SufficientStatistics:
    r"""What an E-step leaves of the rows, given their responsibilities :math:`r_{nk}`.

    Statistics of disjoint sets of rows add, so blocks, streams and processes merge through ``+``.
    Moments are taken about pivots :math:`c_k`, the means of the mixture that gave the
    responsibilities, so that nothing cancels when the means move little. Leading dots are restarts.

    Attributes:
        covariance: of the mixture that gave the responsibilities; it says what is kept of
            second moments.
        pivots: :math:`c`, shape ``(..., K, D)``.
        mass: total responsibilities :math:`\sum_n r_{nk}`, shape ``(..., K)``.
        first: :math:`\sum_n r_{nk} (x_n - c_k)`, shape ``(..., K, D)``.
        second: :math:`\sum_n r_{nk} (x_n - c_k)(x_n - c_k)^T`, as far as the structure keeps it.
        log_likelihood: of all rows, under the mixture that gave the responsibilities, shape
            ``(...)``, float64.
        weight: the sum of the rows' weights, shape ``()``, float64.
        missing: what a NaN means to the mixture that gave the responsibilities.
        has_background: whether responsibilities leave the rest to a background.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import EMFitter, initialize
        >>> x, fitter = torch.randn(100, 2), EMFitter()
        >>> start = initialize(x, 3)
        >>> merged = fitter.e_step(x[:60], start) + fitter.e_step(x[60:], start)
        >>> torch.allclose(merged.mass, fitter.e_step(x, start).mass, rtol=1e-4)
        True
    """

    covariance: Covariance
    pivots: Tensor
    mass: Tensor
    first: Tensor
    second: Tensor
    log_likelihood: Tensor
    weight: Tensor
    missing: str = "error"
    has_background: bool = False

    @classmethod
    def expected(cls, mixture: GaussianMixture, weight: float) -> Self:
        """Returns what rows of a total weight, drawn from a mixture of batch shape ``()``, leave
        on average; the log-likelihood apart, which is zero.
        """
        means, structure, mass = mixture.means, mixture.covariance, weight * mixture.weights
        scatter = mass[:, None, None] * structure.dense(*means.shape)
        zero = double(mass.new_zeros(()))
        return cls(
            covariance=structure,
            pivots=means,
            mass=mass,
            first=torch.zeros_like(means),
            second=structure.moments.project(scatter),
            log_likelihood=zero,
            weight=zero + weight,
            missing=mixture.missing,
        )

    @property
    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mass, first and second moments."""
        return self.mass, self.first, self.second

    @property
    def sums(self) -> dict[str, Tensor]:
        """The tensors that add."""
        return {name: getattr(self, name) for name in _SUMS}

    @property
    def share(self) -> Tensor | float:
        """What components have of the rows' weight, ``(..., 1)``: all, but for a background."""
        if not self.has_background:
            return 1.0
        return (double(self.mass).sum(-1, keepdim=True) / self.weight).to(self.mass)

    @property
    def mean_log_likelihood(self) -> Tensor:
        """The log-likelihood per row, or per unit of weight."""
        return self.log_likelihood / self.weight

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Applies a function to all tensors."""
        tensors = {"pivots": self.pivots} | self.sums
        changed: dict[str, Any] = {name: function(tensor) for name, tensor in tensors.items()}
        return replace(self, covariance=self.covariance.reindex(function), **changed)

    def scaled(self, factor: float) -> Self:
        """Returns the statistics of the same rows, each with ``factor`` times its weight."""
        changed: dict[str, Any] = {name: factor * tensor for name, tensor in self.sums.items()}
        return replace(self, **changed)

    def about(self, pivots: Tensor) -> Self:
        """Returns the same statistics, with moments about other pivots."""
        least = torch.finfo(self.mass.dtype).tiny ** 0.5
        average = self.first / self.mass.clamp(min=least).unsqueeze(-1)
        shift, outer = average - (pivots - self.pivots), self.covariance.moments.outer
        second = self.second - outer(average, self.mass) + outer(shift, self.mass)
        return replace(self, pivots=pivots, first=self.mass.unsqueeze(-1) * shift, second=second)

    def __add__(self, other: "SufficientStatistics") -> Self:
        """Merges the statistics of two disjoint sets of rows."""
        is_one = isinstance(other, SufficientStatistics)
        check(is_one, "other", "SufficientStatistics", type(other).__name__)
        same = type(self.covariance) is type(other.covariance) and self.missing == other.missing
        same = same and torch.equal(self.pivots, other.pivots)
        check(same, "other", "statistics about the same pivots, of one mixture", "others")
        merged: dict[str, Any] = {name: t + other.sums[name] for name, t in self.sums.items()}
        return replace(self, **merged)

    def __radd__(self, other: Any) -> Self:
        """Adds to zero, where ``sum`` begins."""
        check(other is not None and other == 0, "other", "SufficientStatistics, or 0", other)
        return self
