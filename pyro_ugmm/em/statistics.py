"""The sums over rows from which a Gaussian mixture's parameters are estimated."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from ..checks import check
from ..distributions.covariance import Covariance

__all__ = ["SufficientStatistics", "all_reduce", "is_distributed"]


def is_distributed() -> bool:
    """Whether there are other processes, of ``torch.distributed``."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def all_reduce(tensors: list[Tensor]) -> list[Tensor]:
    """Sums tensors over the processes of ``torch.distributed``, if there are any."""
    if not is_distributed():
        return tensors
    packed = torch.cat([t.double().flatten() for t in tensors])
    torch.distributed.all_reduce(packed)
    parts = packed.split([t.numel() for t in tensors])
    return [part.reshape(t.shape).to(t.dtype) for t, part in zip(tensors, parts, strict=True)]


@dataclass(frozen=True, eq=False)
class SufficientStatistics:
    r"""What an E-step leaves of the rows, given their responsibilities :math:`r_{nk}`.

    Statistics of disjoint sets of rows add, so blocks, streams and processes merge through ``+``.
    Moments are taken about pivots :math:`c_k`, the means of the mixture that gave the
    responsibilities, so that nothing cancels when the means move little. Leading dots are restarts.

    Attributes:
        structure: the covariance structure, which says what second moments are kept.
        pivots: :math:`c`, shape ``(..., K, D)``.
        mass: total responsibilities :math:`\sum_n r_{nk}`, shape ``(..., K)``.
        first: :math:`\sum_n r_{nk} (x_n - c_k)`, shape ``(..., K, D)``.
        second: :math:`\sum_n r_{nk} (x_n - c_k)(x_n - c_k)^T`, as far as the structure keeps it.
        log_likelihood: of all rows, under the mixture that gave the responsibilities, shape
            ``(...)``, float64.
        weight: the sum of the rows' weights, shape ``()``, float64.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import EMFitter, initialize
        >>> x, fitter = torch.randn(100, 2), EMFitter()
        >>> start = initialize(x, 3)
        >>> merged = fitter.e_step(x[:60], start) + fitter.e_step(x[60:], start)
        >>> torch.allclose(merged.mass, fitter.e_step(x, start).mass, rtol=1e-4)
        True
    """

    structure: type[Covariance]
    pivots: Tensor
    mass: Tensor
    first: Tensor
    second: Tensor
    log_likelihood: Tensor
    weight: Tensor

    @property
    def sums(self) -> dict[str, Tensor]:
        """The tensors that add."""
        names = [f.name for f in fields(self) if f.name not in ("structure", "pivots")]
        return {name: getattr(self, name) for name in names}

    @property
    def mean_log_likelihood(self) -> Tensor:
        """The log-likelihood per row, or per unit of weight."""
        return self.log_likelihood / self.weight

    def _with(self, tensors: dict[str, Any]) -> Self:
        return replace(self, **tensors)

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Applies a function to all tensors."""
        tensors = {"pivots": self.pivots} | self.sums
        return self._with({name: function(tensor) for name, tensor in tensors.items()})

    def __add__(self, other: "SufficientStatistics") -> Self:
        """Merges the statistics of two disjoint sets of rows."""
        same = self.structure is other.structure and torch.equal(self.pivots, other.pivots)
        check(same, "other", "statistics about the same pivots", "others")
        return self._with({name: t + other.sums[name] for name, t in self.sums.items()})

    def all_reduce(self) -> Self:
        """Merges the statistics of all processes of ``torch.distributed``, if there are any."""
        sums = self.sums
        return self._with(dict(zip(sums, all_reduce(list(sums.values())), strict=True)))
