"""Variational Bayes on one page: coordinate ascent of the lower bound of the evidence."""

import math
from dataclasses import dataclass

from ..expectation import Expectation
from ..rows import Rows
from .parameters import ParameterDistribution

__all__ = ["VariationalState", "next_state"]


@dataclass(frozen=True, eq=False)
class VariationalState:
    """Where coordinate ascent has come to.

    Attributes:
        prior: of the parameters.
        posterior: of the parameters.
        lower_bound: of the log evidence, with the responsibilities that gave the posterior; minus
            infinity at the start.
        change: of the lower bound in the last step; infinite in the first.
        n_steps: how many were taken.
    """

    prior: ParameterDistribution
    posterior: ParameterDistribution
    lower_bound: float = -math.inf
    change: float = math.inf
    n_steps: int = 0


def next_state(state: VariationalState, rows: Rows) -> VariationalState:
    r"""Optimizes the distribution of assignments, and then that of the parameters.

    With :math:`\rho_{nk}` the expected log densities that make responsibilities, and :math:`Z` what
    densities of parameters are divided by, the bound after both is

    .. math:: \sum_n \log \sum_k e^{\rho_{nk}} - \sum_{nk} r_{nk} \rho_{nk}
        + \log Z(\mathrm{posterior}) - \log Z(\mathrm{prior})
    """
    prior, before = state.prior, state.posterior
    expectation = Expectation(before.mixture(rows.missing), log_weights=before.log_weights())
    statistics = expectation.read(rows).statistics()
    after = prior.updated(statistics)
    entropy = statistics.log_likelihood - before.expected_log_likelihood(statistics)
    bound = entropy + after.log_normalizer - prior.log_normalizer
    change = math.inf if state.n_steps == 0 else bound.item() - state.lower_bound
    return VariationalState(prior, after, bound.item(), change, state.n_steps + 1)
