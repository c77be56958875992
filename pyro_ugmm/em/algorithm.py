"""Expectation maximization on one page: start, E-step, M-step, and what the last step changed.

All else, such as restarts, stopping, recovery, checkpoints and reports, is around these steps.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..accumulation import double
from ..checks import check, check_number, check_same_kind
from ..distributions import GaussianMixture
from .carried_bounds import CarriedBounds
from .conjugate_prior import ConjugatePrior
from .expectation import Expectation
from .frozen import Frozen
from .given_rows import known_rows
from .maximization import maximize
from .rows import Rows
from .starts import checked_start
from .state import EMState, largest_mean
from .untracked import untracked

__all__ = ["EMAlgorithm"]


@dataclass(frozen=True, kw_only=True)
class EMAlgorithm:
    """The steps of EM, for a loop of one's own; :class:`EMFitter` is a loop around them.

    A state is never changed: each step returns another one. Rows and their weights are given as to
    :meth:`EMFitter.fit`, and may be others in each step.

    Args:
        reg_covar: what is added to all variances, in squared units of the data.
        prior: for maximum a posteriori instead of maximum likelihood; in the dtype of the start and
            on its device, as ``prior.like(start.means)`` is.
        frozen: what stays as the start has it, as to :class:`EMFitter`.

    Raises:
        ValueError: if a setting is out of range, or as :meth:`EMFitter.fit` does.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import EMAlgorithm, initialize
        >>> x = torch.cat([torch.randn(100, 2) - 9, torch.randn(200, 2) + 9])
        >>> em = EMAlgorithm(reg_covar=1e-6)
        >>> state = em.init(initialize(x, n_components=2, seed=0), x)
        >>> while state.change > 1e-3:
        ...     state = em.step(state, x)
        >>> state.mixture.weights.sort().values
        tensor([0.3333, 0.6667])
    """

    reg_covar: float = 1e-6
    prior: ConjugatePrior | None = None
    frozen: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "frozen", Frozen.of(self.frozen))
        expected = "a finite non-negative number"
        number = check_number("reg_covar", self.reg_covar, lambda v: 0 <= v < math.inf, expected)
        object.__setattr__(self, "reg_covar", number)
        is_prior = self.prior is None or isinstance(self.prior, ConjugatePrior)
        check(is_prior, "prior", "a ConjugatePrior, or None", type(self.prior).__name__)

    @property
    def objective(self) -> str:
        """What the steps raise, in words."""
        return "log-likelihood" if self.prior is None else "log posterior"

    @untracked
    def init(
        self,
        start: GaussianMixture,
        x: Any,
        sample_weight: Any = None,
        *,
        labels: Any = None,
        noise: Any = None,
    ) -> EMState:
        """Returns the state at a start, of batch shape ``()`` or ``(S,)``."""
        start = checked_start("start", start)
        self.frozen.check_fits(start)
        if self.prior is not None:
            self.prior.check_fits(start.means)
            check_same_kind({"start": start.means, "prior": self.prior.mean})
        rows = known_rows(x, start, sample_weight, labels, noise)
        return self.e_step(start, rows)

    @untracked
    def step(
        self,
        state: EMState,
        x: Any,
        sample_weight: Any = None,
        *,
        labels: Any = None,
        noise: Any = None,
    ) -> EMState:
        """Returns the state after an M-step, and the E-step that says what it is worth."""
        mixture, _ = self.m_step(state)
        rows = known_rows(x, mixture, sample_weight, labels, noise)
        return self.e_step(mixture, rows, state)

    def m_step(self, state: EMState) -> tuple[GaussianMixture, Tensor]:
        """Returns the mixture that follows, and which components are singular, ``(..., K)``."""
        assert state.statistics is not None, "the E-step was the last one"
        weights = state.mixture.weights
        return maximize(state.statistics, self.reg_covar, self.prior, self.frozen, weights)

    def e_step(
        self,
        mixture: GaussianMixture,
        rows: Rows,
        before: EMState | None = None,
        *,
        is_last: bool = False,
        bounds: CarriedBounds | None = None,
    ) -> EMState:
        """Returns the state of a mixture: after another one, or at the start.

        Of a last one, only what the mixture is worth is wanted, and nothing for a next step. Bounds
        of the same rows make it faster, and change nothing but the rounding.
        """
        expectation = Expectation(mixture, only_likelihood=is_last, bounds=bounds).read(rows)
        statistics = None if is_last else expectation.statistics()
        if statistics is None:
            likelihood, weight = expectation.mean_log_likelihood()
        else:
            likelihood, weight = statistics.mean_log_likelihood, statistics.weight
        objective = likelihood
        if self.prior is not None:
            background = rows.known.background
            whole = mixture if background is None else background.join_to(mixture).mixture
            objective = likelihood + double(self.prior.log_density(whole)) / weight
        if before is not None:
            change = objective - before.objective
            return EMState(mixture, statistics, likelihood, objective, change, before.n_steps + 1)
        # Rows that a start is far from belong to all of its components alike.
        largest = largest_mean(mixture.means.dtype)
        is_far = (likelihood.abs() >= largest) | (objective.abs() >= largest)
        objective = torch.where(is_far, -math.inf, objective)
        change = torch.full_like(objective, math.inf)
        likelihood = likelihood.clamp(-largest, largest)
        return EMState(mixture, statistics, likelihood, objective, change, 0)
