"""The iterations of EM, for several restarts at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from tqdm.auto import tqdm

from ..distributions import GaussianMixture
from .expectation import Expectation
from .maximization import maximize
from .recovery import Recovery
from .result import EMResult
from .rows import Rows

if TYPE_CHECKING:
    from .fitter import EMFitter

__all__ = ["run", "select_restarts"]


@dataclass
class _Restart:
    """What is known of one restart."""

    history: list[float] = field(default_factory=list)
    objective: float = -math.inf
    change: float = math.inf
    mixture: GaussianMixture | None = None
    converged: bool = False
    status: str = ""


def select_restarts(mixture: GaussianMixture, at: slice | list[int]) -> GaussianMixture:
    """Returns some of the mixtures in a batch of shape ``(S,)``."""
    return GaussianMixture(
        mixture.weights[at],
        mixture.means[at],
        mixture.covariance.reindex(lambda t: t[at]),
        missing=mixture.missing,
        validate_args=False,
    )


@torch.no_grad()
def run(fitter: EMFitter, rows: Rows, mixture: GaussianMixture, bar: tqdm) -> list[EMResult]:
    """Fits mixtures of batch shape ``(S,)`` to rows, each until it converges."""
    n_restarts = mixture.batch_shape.numel()
    restarts = [_Restart() for _ in range(n_restarts)]
    recovery = Recovery(rows, n_restarts, mixture.n_components)
    alive = list(range(n_restarts))
    ending = "stopped after max_iter={} steps, while the mean log-likelihood still changed by "
    ending = ending.format(fitter.max_iter) + "{:.3g} a step; raise max_iter, or go on from here"
    try:
        for iteration in range(fitter.max_iter):
            statistics = Expectation(mixture).read(rows).statistics()
            objective = likelihood = statistics.mean_log_likelihood
            if fitter.prior is not None:
                objective = likelihood + fitter.prior.log_density(mixture) / statistics.weight
            after, raised = maximize(statistics, fitter.reg_covar, fitter.prior, mixture.missing)
            may_revive = iteration + 1 < fitter.max_iter
            after, revived = recovery.apply(
                alive, after, raised, mixture, statistics, iteration, may_revive
            )
            done = []
            values = zip(likelihood.tolist(), objective.tolist(), revived, strict=True)
            for i, (mean, value, moved) in enumerate(values):
                restart = restarts[alive[i]]
                if _update(restart, mean, value, math.nan if moved else fitter.tol):
                    done.append(i)
                    ended = after if restart.converged else mixture
                    restart.mixture = select_restarts(ended, [i])
            bar.update()
            bar.set_postfix(log_likelihood=f"{likelihood.max().item():.6g}", refresh=False)
            left = [i for i in range(len(alive)) if i not in done]
            alive = [alive[i] for i in left]
            if not alive:
                break
            mixture = select_restarts(after, left) if done else after
    except KeyboardInterrupt:
        ending = "interrupted, while the mean log-likelihood still changed by {:.3g} a step"
    for i, index in enumerate(alive):
        restarts[index].mixture = select_restarts(mixture, [i])
        restarts[index].status = ending.format(restarts[index].change)
    return _results(fitter, rows, restarts, recovery)


def _update(restart: _Restart, likelihood: float, objective: float, tol: float) -> bool:
    """Notes where a restart stands; returns whether it has ended (never, if ``tol`` is NaN)."""
    if not math.isfinite(objective):
        restart.status = (
            f"stopped at step {len(restart.history)}: the log-likelihood is {likelihood}, so some "
            "rows are too far from all components for the numbers' range; standardize the "
            "features, or start nearer"
        )
        return True
    restart.history.append(likelihood)
    restart.change, restart.objective = objective - restart.objective, objective
    restart.converged = abs(restart.change) < tol
    if restart.converged:
        restart.status = (
            f"converged: the mean log-likelihood changed by {restart.change:.3g}, less than "
            f"tol={tol:g}, in step {len(restart.history)}"
        )
    return restart.converged


def _results(
    fitter: EMFitter, rows: Rows, restarts: list[_Restart], recovery: Recovery
) -> list[EMResult]:
    results = []
    for restart, events in zip(restarts, recovery.events, strict=True):
        mixture = restart.mixture
        assert mixture is not None
        log_likelihood = Expectation(mixture, only_likelihood=True).read(rows).mean_log_likelihood()
        single = mixture.covariance.reindex(lambda t: t[0])
        results.append(
            EMResult(
                mixture=GaussianMixture(
                    mixture.weights[0], mixture.means[0], single, missing=mixture.missing
                ),
                converged=restart.converged,
                status=restart.status,
                n_iter=len(restart.history),
                log_likelihood=log_likelihood.item(),
                history=torch.tensor(restart.history, dtype=torch.float64),
                events=tuple(events),
                restarts=log_likelihood.cpu(),
                reg_covar=fitter.reg_covar,
            )
        )
    return results
