"""What sampling returns."""

import math
from dataclasses import dataclass

from torch import Tensor

from ..status import Ended, Status
from .moved import Moved
from .smc import Rung

__all__ = ["PosteriorSample"]


@dataclass(frozen=True, eq=False, repr=False)
class PosteriorSample(Ended):
    r"""Draws from the posterior by sequential Monte Carlo, with what is known of their quality.

    Attributes:
        draws: values by site, ``(S,)`` and the site's shape; one population after the other, and
            within it one particle after the other.
        num_populations: how many populations they come from.
        status: how the run ended: it converged if the particles reached the posterior, and their
            populations agree.
        reason: the same in words, with figures and the remedy.
        log_evidences: each population's estimate of :math:`\log p(y)`, shape ``(M,)``, float64;
            NaN short of the posterior, and where the numbers cannot hold the prior.
        r_hat: over populations, of quantities that know no labels: the log prior, the log
            likelihood, and the rows' log-likelihoods, of which the largest.
        rungs: what happened at each temperature.
        held: parameters without a prior, which were held where they are.
        moved: how far quantities moved from the guide to the posterior; None from the prior.
        seconds: how long it took.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> from pyro_ugmm.sampling import sample_posterior
        >>> x = torch.randn(50, 2)
        >>> model = BayesianGaussianMixture(1, 2, covariance="diagonal", priors=Priors.from_data(x))
        >>> sample = sample_posterior(model, x, seed=0, progress=False)
        >>> sample.draws["means"].shape, sample.status.name
        (torch.Size([1024, 1, 2]), 'CONVERGED')
    """

    draws: dict[str, Tensor]
    num_populations: int
    status: Status
    reason: str
    log_evidences: Tensor
    r_hat: dict[str, float]
    rungs: tuple[Rung, ...]
    held: tuple[str, ...] = ()
    moved: Moved | None = None
    seconds: float = math.nan

    @property
    def num_draws(self) -> int:
        """How many draws there are."""
        return len(next(iter(self.draws.values())))

    @property
    def log_evidence(self) -> float:
        r"""The logarithm of the mean of the populations' estimates of :math:`p(y)`."""
        return float(self.log_evidences.logsumexp(0)) - math.log(len(self.log_evidences))

    @property
    def log_evidence_error(self) -> float:
        """Its standard error, from how the populations differ; NaN of a single one."""
        n_populations = len(self.log_evidences)
        if n_populations < 2:
            return math.nan
        ratios = (self.log_evidences - self.log_evidences.max()).exp()
        relative = float(ratios.std() / ratios.mean()) / math.sqrt(n_populations)
        return max(relative, float(self.log_evidences.std()) / math.sqrt(n_populations))

    def __repr__(self) -> str:
        r_hat = max(self.r_hat.values(), default=math.nan)
        return (
            f"{type(self).__name__}({self.num_draws} draws in {self.num_populations} "
            f"populations, log_evidence={self.log_evidence:.2f} ± {self.log_evidence_error:.2f}, "
            f"r_hat={r_hat:.3f}, {len(self.rungs)} temperatures, status={self.status.name})"
        )
