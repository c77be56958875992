"""Variational Bayes for Gaussian mixtures."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from ...checks import check, check_choice, check_flag, check_integer
from ...distributions import GaussianMixture
from ...processes import as_one, check_group, current
from ...progress_bars import progress_bar
from ...status import Status
from ..expectation import Expectation
from ..rows import Rows
from ..starts import checked_start
from ..statistics import SufficientStatistics
from ..stopping import Tolerance
from ..untracked import untracked
from .parameters import ParameterDistribution
from .precision_law import PRECISION_LAWS, of_matrices
from .priors import VariationalPriors
from .result import VariationalResult
from .steps import VariationalState, next_state
from .weights import WEIGHT_DISTRIBUTIONS

__all__ = ["VariationalEM"]

_NOT_SHARED = ("priors", "progress", "group")


@dataclass(frozen=True, kw_only=True)
class VariationalEM:
    r"""Fits a distribution of a Gaussian mixture's parameters by variational Bayes, in closed form.

    .. math:: \max_q \; \mathbb{E}_q \bigl[\log p(x, z, \theta) - \log q(z) - \log q(\theta)\bigr]
        \le \log p(x)

    over :math:`q(z) \, q(\theta)`, with assignments :math:`z` and conjugate priors. Components
    that the rows do not need lose theirs; give more than you expect. Settings are those of
    scikit-learn's ``BayesianGaussianMixture``. Rows are read as by :class:`EMFitter`, one pass for
    each iteration.

    Args:
        weight_prior: ``"dirichlet_process"``, by breaking a stick, or
            ``"dirichlet_distribution"``.
        priors: the priors.
        tol: stop when the lower bound changes by less than this, in nats, for all rows together; or
            by less than rounding.
        max_iter: the most iterations.
        normalizer: ``"exact"``, or ``"scikit-learn"``, which integrates precisions of diagonal and
            spherical covariances as if they were matrices, and a tied one as if each component had
            its own: the same numbers as there, of which the last is no bound.
        progress: whether to show a progress bar on fits of more than a second.
        group: the processes that fit together, as to :class:`EMFitter`.

    Raises:
        ValueError: if a setting is out of range.

    Source: Attias (2000), *A variational Bayesian framework for graphical models*; Blei and Jordan
    (2006), *Variational inference for Dirichlet process mixtures*; Bishop (2006), section 10.2.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import VariationalEM, initialize
        >>> x = torch.cat([torch.randn(100, 2) - 9, torch.randn(200, 2) + 9])
        >>> vb = VariationalEM(max_iter=500).fit(x, initialize(x, n_components=6, seed=0))
        >>> vb.n_used, vb.mixture.weights.sort().values[-2:]
        (2, tensor([0.3..., 0.6...]))
    """

    weight_prior: str = "dirichlet_process"
    priors: VariationalPriors = field(default_factory=VariationalPriors)
    tol: float = 1e-3
    max_iter: int = 100
    normalizer: str = "exact"
    progress: bool = True
    group: Any = None

    def __post_init__(self) -> None:
        check_choice("weight_prior", self.weight_prior, WEIGHT_DISTRIBUTIONS)
        is_priors = isinstance(self.priors, VariationalPriors)
        check(is_priors, "priors", "VariationalPriors", type(self.priors).__name__)
        object.__setattr__(self, "tol", Tolerance(self.tol).tol)
        object.__setattr__(self, "max_iter", check_integer("max_iter", self.max_iter))
        check_choice("normalizer", self.normalizer, ("exact", "scikit-learn"))
        check_flag("progress", self.progress)
        check_group(self.group)

    @untracked
    @as_one
    def fit(self, x: Any, start: GaussianMixture, sample_weight: Any = None) -> VariationalResult:
        """Fits to rows.

        Args:
            x: rows ``(n, D)``, or blocks of these, as to :meth:`EMFitter.fit`.
            start: a mixture, by whose responsibilities the rows are first shared out. Of a batch of
                shape ``(S,)``, the one of the highest lower bound is returned.
            sample_weight: non-negative weights of the rows, shape ``(n,)``; a weight of two is
                the row twice.

        Returns:
            The posterior, the mixture of its expectations, and the history of the lower bound. A
            numerical failure is a status, and so is an interruption by the keyboard after the
            first iteration.

        Raises:
            ValueError: as :meth:`EMFitter.fit` does; or if a prior does not fit the rows.
        """
        start = checked_start("start", start)
        structure = start.covariance.name
        expected = f"covariances that are {', '.join(PRECISION_LAWS)}"
        check(structure in PRECISION_LAWS, "start", expected, structure)
        starts = start if start.batch_shape else start.reindex(lambda t: t.unsqueeze(0))
        settings = {name: value for name, value in vars(self).items() if name not in _NOT_SHARED}
        given = {f"priors.{name}": value for name, value in vars(self.priors).items()}
        current().agree(settings | given | {"start": [*starts.tensors().values()]})
        observed = self.priors.is_of_data
        rows = Rows(x, starts.means, sample_weight, starts.missing, observed=observed)
        prior, fits = None, []
        for i in range(len(starts.means)):
            one = _one_of(starts, i)
            statistics = Expectation(one).read(rows).statistics()
            prior = self._prior(statistics) if prior is None else prior
            fits.append(self._ascend(VariationalState(prior, prior.updated(statistics)), rows))
            if fits[-1].interrupted:
                break
        return max(fits, key=lambda fit: (not fit.interrupted, fit.n_iter > 0, fit.final_bound))

    def _prior(self, statistics: SufficientStatistics) -> ParameterDistribution:
        is_exact = self.normalizer == "exact"
        law = PRECISION_LAWS[statistics.covariance.name] if is_exact else of_matrices
        weights = WEIGHT_DISTRIBUTIONS[self.weight_prior]
        return self.priors.of(statistics, weights, law(*statistics.pivots.shape))

    def _ascend(self, state: VariationalState, rows: Rows) -> VariationalResult:
        """Iterates until the end."""
        history: list[float] = []
        status, reason = Status.LIMIT_REACHED, ""
        try:
            for after in self._states(state, rows):
                if not math.isfinite(after.lower_bound):
                    status, reason = Status.BROKEN_DOWN, str(Status.BROKEN_DOWN)
                    break
                state = after
                history.append(state.lower_bound)
                if abs(state.change) < self._least_change(state):
                    status, reason = Status.CONVERGED, self._reason(state)
                    break
        except KeyboardInterrupt:
            status, reason = Status.INTERRUPTED, str(Status.INTERRUPTED)
        return VariationalResult(
            mixture=state.posterior.mixture(rows.missing),
            posterior=state.posterior,
            prior=state.prior,
            status=status,
            reason=reason or self._limit_reached(state),
            lower_bound=torch.tensor(history, dtype=torch.float64, device="cpu"),
        )

    def _states(self, state: VariationalState, rows: Rows) -> Iterator[VariationalState]:
        """The states after a first one."""
        steps = range(self.max_iter)
        for _ in progress_bar(steps, desc="Variational EM", shown=self.progress):
            state = next_state(state, rows)
            yield state

    def _least_change(self, state: VariationalState) -> float:
        dtype = state.posterior.components.means.dtype
        return max(self.tol, torch.finfo(dtype).eps * abs(state.lower_bound))

    def _limit_reached(self, state: VariationalState) -> str:
        stopped = f"stopped after max_iter={self.max_iter} iterations"
        return (
            f"{stopped}, the last of which changed the lower bound by {state.change:.3g}; raise it"
        )

    def _reason(self, state: VariationalState) -> str:
        least, step = self._least_change(state), state.n_steps
        what = f"tol={self.tol:g}" if least == self.tol else f"rounding, which is {least:.3g}"
        change = f"converged: the lower bound changed by {state.change:.3g}"
        return f"{change}, less than {what}, in iteration {step}"


def _one_of(starts: GaussianMixture, index: int) -> GaussianMixture:
    return starts.reindex(lambda t: t[index])
