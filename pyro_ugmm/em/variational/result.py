"""What variational Bayes returns."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...distributions import GaussianMixture
from ...status import Ended, Status
from .parameters import ParameterDistribution
from .predictive import PosteriorPredictive

__all__ = ["VariationalResult"]

_LEAST_ROWS = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class VariationalResult(Ended):
    r"""The outcome of a fit by :class:`VariationalEM`.

    Attributes:
        mixture: the expected weights and means, and the inverses of the expected precisions.
        posterior: of the parameters: ``posterior.weights``, and ``posterior.components`` with
            ``means`` :math:`m`, ``mean_precision`` :math:`\beta`, ``degrees_of_freedom``
            :math:`\nu`, and ``covariance`` :math:`\Psi / \nu`.
        prior: likewise.
        status: how the fit ended.
        reason: why, in words with figures, and what to do about it.
        lower_bound: of the log evidence of all rows, after each iteration, shape ``(n_iter,)``, in
            nats, float64.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import VariationalEM, initialize
        >>> x = torch.cat([torch.randn(80, 1) - 5, torch.randn(80, 1) + 5])
        >>> vb = VariationalEM(max_iter=500).fit(x, initialize(x, 4, seed=0))
        >>> print(vb.report)
        converged: ...
        2 of 4 components are used: ...
    """

    mixture: GaussianMixture
    posterior: ParameterDistribution
    prior: ParameterDistribution
    status: Status
    reason: str
    lower_bound: Tensor

    @property
    def n_iter(self) -> int:
        """The number of iterations."""
        return len(self.lower_bound)

    @property
    def final_bound(self) -> float:
        """The lower bound at the end, or NaN without an iteration."""
        return self.lower_bound[-1].item() if self.n_iter else math.nan

    @property
    def n_rows(self) -> Tensor:
        """The expected number of rows of each component, or their weight, shape ``(K,)``."""
        components, prior = self.posterior.components, self.prior.components
        return components.mean_precision - prior.mean_precision

    @property
    def used(self) -> Tensor:
        """Which components have a row at least, shape ``(K,)``."""
        return self.n_rows >= _LEAST_ROWS

    @property
    def n_used(self) -> int:
        """How many components have a row at least."""
        return int(self.used.sum())

    @property
    def report(self) -> str:
        """The reason, and which components are used, in words."""
        rows = self.n_rows[self.used].sort(descending=True).values.tolist()
        shown = ", ".join(f"{count:.1f}" for count in rows[:10]) + ", ..." * (len(rows) > 10)
        return f"{self.reason}\n{self.n_used} of {len(self.used)} components are used: {shown} rows"

    @property
    def predictive(self) -> PosteriorPredictive:
        """The density of rows to come, averaged over the posterior."""
        return PosteriorPredictive(self.posterior)

    def guide(self) -> Any:
        """Returns the posterior as a guide of a ``BayesianGaussianMixture`` with priors on all.

        See :class:`pyro_ugmm.guides.ConjugateGuide`.
        """
        from ...guides import ConjugateGuide

        return ConjugateGuide(self.posterior)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.status.name}, n_iter={self.n_iter}, "
            f"n_used={self.n_used}, lower_bound={self.final_bound:.6g})"
        )
