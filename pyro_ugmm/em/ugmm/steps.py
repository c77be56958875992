"""EM for products of nodes on one page: the E-step and the M-step."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...distributions import UGMMMixture, UnivariateGaussianMixture
from ..rows import Rows
from .statistics import NodeStatistics, read_rows

__all__ = ["UGMMState", "e_step", "m_step"]


@dataclass(frozen=True, eq=False)
class UGMMState:
    """A mixture, and what the E-step found of the rows under it.

    Attributes:
        mixture: of batch shape ``()``.
        statistics: from which the M-step makes the next one.
        log_likelihood: the mean per row, or per unit of weight, in nats, shape ``(1,)``, float64.
        change: of it in the last step; infinite at the start.
        n_steps: how many were taken.
    """

    mixture: UGMMMixture
    statistics: NodeStatistics
    log_likelihood: Tensor
    change: Tensor
    n_steps: int

    @property
    def objective(self) -> Tensor:
        """What the steps raise, which is the log-likelihood."""
        return self.log_likelihood

    @property
    def is_sound(self) -> bool:
        """Whether the numbers are within their range."""
        nodes = self.mixture.nodes
        parts = nodes.loc, nodes.scale.log(), self.log_likelihood
        return all(bool(part.isfinite().all()) for part in parts)


def e_step(
    mixture: UGMMMixture, rows: Rows, before: UGMMState | None = None, *, is_last: bool = False
) -> UGMMState:
    """Returns the state of a mixture: after another one, or at the start.

    Of a last one, only what the mixture is worth is wanted, and nothing for a next step.
    """
    statistics = read_rows(mixture, rows, only_likelihood=is_last)
    likelihood = (statistics.log_likelihood / statistics.weight).reshape(1)
    if before is None:
        return UGMMState(mixture, statistics, likelihood, torch.full_like(likelihood, math.inf), 0)
    change = likelihood - before.log_likelihood
    return UGMMState(mixture, statistics, likelihood, change, before.n_steps + 1)


def m_step(state: UGMMState, reg_covar: float) -> UGMMMixture:
    r"""Returns the mixture that follows.

    With the responsibility :math:`r_{ncdm}` of a row for a component and its Gaussian,

    .. math:: \pi_c \propto \sum_n r_{nc}, \quad w_{cdm} \propto \sum_n r_{ncdm}, \quad
        \mu_{cdm} = \frac{\sum_n r_{ncdm} x_{nd}}{\sum_n r_{ncdm}}, \quad
        \sigma_{cdm}^2 = \frac{\sum_n r_{ncdm} (x_{nd} - \mu_{cdm})^2}{\sum_n r_{ncdm}} + \epsilon

    where sums of a dimension are over the rows in which it was observed. What lost its rows stays
    where it is, with a weight of zero; a node that lost them all stays as it is.
    """
    statistics, nodes = state.statistics, state.mixture.nodes
    mass, tiny = statistics.mass, torch.finfo(nodes.loc.dtype).tiny
    share = statistics.first / mass.clamp(min=tiny)
    variance = (statistics.second / mass.clamp(min=tiny) - share.square()).clamp(min=0)
    loc, scale = (part.to(share) for part in (nodes.loc, nodes.scale))
    has_rows = mass > tiny
    loc = torch.where(has_rows, loc + scale * share, loc)
    scale = torch.where(has_rows, (scale.square() * variance + reg_covar).sqrt(), scale)
    total = mass.sum(-1, keepdim=True)
    of_node = torch.where(total > tiny, mass / total.clamp(min=tiny), nodes.probs.to(mass))
    weights = statistics.component_mass / statistics.component_mass.sum()
    made = UnivariateGaussianMixture(
        loc.to(nodes.loc),
        scale.to(nodes.loc),
        probs=of_node.to(nodes.loc),
        validate_args=False,
    )
    weights = weights.to(nodes.loc)
    return UGMMMixture(weights, made, missing=state.mixture.missing, validate_args=False)
