"""Stepwise EM: rows that come by once, and are not kept."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_integer, check_number
from ..distributions import GaussianMixture
from .algorithm import EMAlgorithm
from .conjugate_prior import ConjugatePrior
from .expectation import Expectation
from .maximization import maximize
from .rows import Rows
from .starts import checked_start
from .statistics import SufficientStatistics
from .untracked import untracked

__all__ = ["StepwiseEM", "StepwiseState"]


@dataclass(frozen=True, eq=False)
class StepwiseState:
    """A mixture, and what is remembered of the rows that came by.

    Attributes:
        mixture: of batch shape ``()``.
        statistics: the remembered average, times the weight of all rows that steps were taken on.
        waiting: the statistics of the rows since the last step, or ``None``.
        log_likelihood: of the last step's rows under the mixture before it, which had not seen
            them, per unit of weight, in nats, shape ``()``, float64; NaN before the first step.
        n_steps: how many were taken.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import StepwiseEM, initialize
        >>> x = torch.randn(300, 2)
        >>> em = StepwiseEM(batch_size=200)
        >>> state = em.step(em.init(initialize(x, 2)), x[:100])
        >>> state.n_steps, state.waiting.weight
        (0, tensor(100., dtype=torch.float64))
        >>> em.step(state, x[100:]).n_steps
        1
    """

    mixture: GaussianMixture
    statistics: SufficientStatistics
    waiting: SufficientStatistics | None
    log_likelihood: Tensor
    n_steps: int


@dataclass(frozen=True, kw_only=True)
class StepwiseEM:
    r"""EM on rows that come by once, such as those of a stream, for a loop of one's own.

    Each step averages the statistics :math:`\hat s_t` of the rows that came into those that are
    remembered, and takes the M-step from these:

    .. math::
        s_t = (1 - \gamma_t) \, s_{t-1} + \gamma_t \, \hat s_t, \qquad
        \gamma_t = \left(\frac{n_t}{n_0 + n_1 + \dots + n_t}\right)^\alpha

    with :math:`n_t` rows in the step, :math:`n_0` that the start is worth and the decay
    :math:`\alpha`. For steps of as many rows and :math:`n_0 = 0` that is
    :math:`\gamma_t = t^{-\alpha}`: the first one forgets the start, and is a step of EM. With a
    decay of one all rows count alike for good, also those that early and worse mixtures shared out;
    the smaller it is, the sooner these are forgotten, and the noisier is the estimate. A state is
    never changed: each step returns another one.

    Args:
        decay: :math:`\alpha`, above 0.5 and at most 1.
        batch_size: the least weight of rows for a step. Fewer wait for those that follow, as single
            rows may; more are one step all the same.
        reg_covar: what is added to all variances, in squared units of the data.
        prior: for maximum a posteriori, as to :class:`EMFitter`; it weighs less the more rows
            came by.
        frozen: what stays as the start has it, as to :class:`EMFitter`.

    Raises:
        ValueError: if a setting is out of range, or as :meth:`EMFitter.fit` does.

    Source: Cappé and Moulines (2009), *On-line expectation-maximization algorithm for latent data
    models*; Liang and Klein (2009), *Online EM for unsupervised models*.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import StepwiseEM, initialize
        >>> def stream():
        ...     for _ in range(50):
        ...         yield torch.cat([torch.randn(100, 2) - 9, torch.randn(200, 2) + 9])
        >>> em = StepwiseEM()
        >>> state = em.init(initialize(next(stream()), n_components=2, seed=0))
        >>> for x in stream():
        ...     state = em.step(state, x)
        >>> state.mixture.weights.sort().values
        tensor([0.3333, 0.6667])
    """

    decay: float = 0.7
    batch_size: int = 256
    reg_covar: float = 1e-6
    prior: ConjugatePrior | None = None
    frozen: Any = None

    def __post_init__(self) -> None:
        steps = EMAlgorithm(reg_covar=self.reg_covar, prior=self.prior, frozen=self.frozen)
        object.__setattr__(self, "reg_covar", steps.reg_covar)
        object.__setattr__(self, "frozen", steps.frozen)
        expected = "a number above 0.5, and at most 1"
        decay = check_number("decay", self.decay, lambda v: 0.5 < v <= 1, expected)
        object.__setattr__(self, "decay", decay)
        object.__setattr__(self, "batch_size", check_integer("batch_size", self.batch_size))

    @untracked
    def init(self, start: GaussianMixture, weight: float = 0.0) -> StepwiseState:
        """Returns the state at a start of batch shape ``()``, which is worth so many rows.

        Of an earlier fit these are the rows that it was fitted to.
        """
        start = checked_start("start", start)
        shape, expected = tuple(start.batch_shape), "a finite non-negative number"
        check(not shape, "start", "one without a batch", f"batch shape {shape}")
        weight = check_number("weight", weight, lambda v: 0 <= v < math.inf, expected)
        self.frozen.check_fits(start)
        if self.prior is not None:
            self.prior.check_fits(start.means)
        statistics = SufficientStatistics.expected(start, weight)
        unknown = torch.full_like(statistics.log_likelihood, math.nan)
        return StepwiseState(start, statistics, None, unknown, 0)

    @untracked
    def step(self, state: StepwiseState, x: Any, sample_weight: Any = None) -> StepwiseState:
        """Returns the state after more rows, which are given as to :meth:`EMFitter.fit`."""
        mixture = state.mixture
        rows = Rows(x, mixture.means, sample_weight, mixture.missing)
        came = Expectation(mixture).read(rows).statistics()
        if state.waiting is not None:
            came = came + state.waiting
        if came.weight < self.batch_size:
            return replace(state, waiting=came)
        statistics = self._averaged(state.statistics, came)
        prior = None if self.prior is None else self.prior.like(mixture.means)
        mixture, _ = maximize(statistics, self.reg_covar, prior, self.frozen, mixture.weights)
        return StepwiseState(mixture, statistics, None, came.mean_log_likelihood, state.n_steps + 1)

    def _averaged(
        self, remembered: SufficientStatistics, came: SufficientStatistics
    ) -> SufficientStatistics:
        before, new = float(remembered.weight), float(came.weight)
        total = before + new
        size = (new / total) ** self.decay
        statistics = came.scaled(size * total / new)
        if before == 0:
            return statistics
        return statistics + remembered.about(came.pivots).scaled((1 - size) * total / before)
