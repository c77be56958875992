"""EM for mixtures over products of mixture neurons: the loop around the steps."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import torch

from ...checks import check, check_flag, check_integer
from ...distributions import UGMMMixture
from ...processes import together
from ...progress_bars import progress_bar
from ...status import Status
from ..algorithm import EMAlgorithm
from ..rows import Rows
from ..stopping import StoppingRule, Tolerance
from ..untracked import untracked
from .result import UGMMResult
from .steps import UGMMState, e_step, m_step

__all__ = ["UGMMFitter"]


@dataclass(frozen=True, kw_only=True)
class UGMMFitter:
    r"""Fits mixtures over products of mixture neurons by expectation maximization, in closed form.

    The E-step shares a row out among components, and of each component, in every dimension, among
    the Gaussians of its node; the M-step takes weighted means and variances. With a
    ``reg_covar`` of zero no step lowers the likelihood. With one Gaussian for each node, steps are
    those of :class:`EMFitter` with diagonal covariances, but for rows with missing entries, which
    are left out of a dimension's sums, and not filled in: the maxima are the same, and steps are
    longer. Rows are read in blocks, and on several processes each fits alone.

    Args:
        tol: stop when the mean log-likelihood per row changes by less than this, in nats.
        max_iter: the most M-steps to take; with none, the best start comes back.
        reg_covar: what is added to all variances, in squared units of the data.
        stopping: when to stop, instead of ``tol``.
        progress: whether to show a progress bar on fits of more than a second.

    Raises:
        ValueError: if a setting is out of range.

    Source: Dempster, Laird and Rubin (1977), *Maximum likelihood from incomplete data via the EM
    algorithm*; for sum-product networks, Peharz, Gens, Pernkopf and Domingos (2017),
    arXiv:1601.06180.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import UGMMFitter, initialize_ugmm
        >>> x = torch.cat([torch.randn(100, 2) - 9, torch.randn(200, 2).exp()])
        >>> start = initialize_ugmm(x, n_components=2, n_node_components=2, seed=0)
        >>> result = UGMMFitter().fit(x, start)
        >>> result.mixture.weights.sort().values
        tensor([0.3333, 0.6667])
    """

    tol: float = 1e-3
    max_iter: int = 100
    reg_covar: float = 1e-6
    stopping: StoppingRule | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "tol", Tolerance(self.tol).tol)
        object.__setattr__(self, "max_iter", check_integer("max_iter", self.max_iter, minimum=0))
        object.__setattr__(self, "reg_covar", EMAlgorithm(reg_covar=self.reg_covar).reg_covar)
        is_rule = self.stopping is None or isinstance(self.stopping, StoppingRule)
        check(is_rule, "stopping", "a StoppingRule, or None", type(self.stopping).__name__)
        check_flag("progress", self.progress)

    @untracked
    def fit(self, x: Any, start: UGMMMixture, sample_weight: Any = None) -> UGMMResult:
        """Fits a mixture to rows.

        Args:
            x: rows ``(n, D)``, or blocks of these, as to :meth:`EMFitter.fit`; NaN among them means
                what it means to the start.
            start: where to start. A batch of shape ``(S,)`` is S restarts; the one that ends at the
                highest log-likelihood is returned.
            sample_weight: non-negative weights of the rows, shape ``(n,)``; a weight of two is the
                row twice.

        Returns:
            The fitted mixture with a status, the history and findings about single components. A
            numerical failure is a status, and so is an interruption by the keyboard.

        Raises:
            ValueError: if the rows are not finite, of another dtype or number of features than the
                start, or there are none; if nothing was observed of a feature; if the start is not
                finite; or if a weight is negative.
        """
        starts = _checked_starts(start)
        with together(False):
            rows = Rows(
                x, starts.nodes.loc[0, 0, :, 0], sample_weight, starts.missing, observed=True
            )
            fits: list[UGMMResult] = []
            for i in range(len(starts.weights)):
                fits.append(self._climb(starts.reindex(itemgetter(i)), rows))
                if fits[-1].interrupted:
                    break
        return self._best(fits, len(starts.weights))

    def _best(self, fits: list[UGMMResult], n_restarts: int) -> UGMMResult:
        """The highest of so many restarts, of which an interruption may have left some out."""
        best = max(fits, key=_height)
        ends = [fit.log_likelihood for fit in fits]
        ends += [math.nan] * (n_restarts - len(fits))
        changes: dict[str, Any] = {
            "restarts": torch.tensor(ends, dtype=torch.float64, device="cpu")
        }
        if fits[-1].interrupted and best is not fits[-1]:
            reason = f"{best.reason}; other restarts were interrupted"
            changes |= {"status": Status.INTERRUPTED, "reason": reason}
        return replace(best, **changes)

    def _climb(self, start: UGMMMixture, rows: Rows) -> UGMMResult:
        """Takes steps from one start until the end."""
        history: list[float] = []
        end = start, math.nan
        ending = Status.INTERRUPTED, "interrupted before the first step: this is the start"
        try:
            for state, said in self._states(start, rows):
                ending = said
                if state is not None:
                    end = state.mixture, state.log_likelihood.item()
                    history.append(end[1])
        except KeyboardInterrupt:
            if history:
                ending = Status.INTERRUPTED, f"interrupted in step {len(history)}"
        return UGMMResult(
            mixture=end[0],
            status=ending[0],
            reason=ending[1],
            n_iter=max(len(history) - 1, 0),
            log_likelihood=end[1],
            history=torch.tensor(history[:-1], dtype=torch.float64, device="cpu"),
            restarts=torch.tensor([end[1]], dtype=torch.float64, device="cpu"),
            reg_covar=self.reg_covar,
        )

    def _states(
        self, start: UGMMMixture, rows: Rows
    ) -> Iterator[tuple[UGMMState | None, tuple[Status, str]]]:
        """The states from the start on, none where one is beyond the range, and what there is to
        say if it is the last.
        """
        rule = self.stopping or Tolerance(self.tol)
        words = f"stopped after max_iter={self.max_iter} steps; raise max_iter, or go on from here"
        limit = Status.LIMIT_REACHED, words
        state = e_step(start, rows, is_last=self.max_iter == 0)
        if not state.is_sound:
            yield None, (Status.BROKEN_DOWN, f"at the start: {Status.BROKEN_DOWN}")
            return
        yield state, limit
        for _ in progress_bar(range(self.max_iter), desc="EM", shown=self.progress):
            is_met, n_steps = all(rule.is_met(state)), state.n_steps + 1
            mixture, before = m_step(state, self.reg_covar), state
            state = e_step(mixture, rows, before, is_last=is_met or n_steps == self.max_iter)
            if not state.is_sound:
                yield None, (Status.BROKEN_DOWN, f"in step {n_steps}: {Status.BROKEN_DOWN}")
                return
            if is_met:
                yield state, (Status.CONVERGED, rule.reason(before, 0, "log-likelihood"))
                return
            yield state, limit


def _height(fit: UGMMResult) -> tuple[bool, float]:
    """What makes one restart better than another."""
    known = not math.isnan(fit.log_likelihood)
    return known, fit.log_likelihood if known else 0.0


def _checked_starts(start: Any) -> UGMMMixture:
    """Detaches a mixture, and makes it a batch of shape ``(S,)``."""
    expected = "a UGMMMixture, such as initialize_ugmm(x, n_components) makes"
    check(isinstance(start, UGMMMixture), "start", expected, type(start).__name__)
    shape = tuple(start.batch_shape)
    check(len(shape) <= 1, "start", "batch shape () or (S,), one for each restart", shape)
    nodes = start.nodes
    finite = all(part.isfinite().all() for part in (start.weights, nodes.loc, nodes.scale.log()))
    check(finite, "start", "finite parameters", "some that are not")
    return start.reindex(lambda t: t.detach() if shape else t.detach().unsqueeze(0))
