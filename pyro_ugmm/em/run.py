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
    before: GaussianMixture | None = None  # of finite likelihood
    converged: bool = False
    interrupted: bool = False
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
    before = mixture
    interrupted = False
    what = "log-likelihood" if fitter.prior is None else "log posterior"
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
                if _update(restart, mean, value, math.nan if moved else fitter.tol, what):
                    done.append(i)
                    last, ended = (mixture, after) if restart.converged else (before, before)
                    restart.before = select_restarts(last, [i])
                    restart.mixture = select_restarts(ended, [i])
            bar.update()
            bar.set_postfix(log_likelihood=f"{likelihood.max().item():.6g}", refresh=False)
            left = [i for i in range(len(alive)) if i not in done]
            if not left:
                alive = []
                break
            before = mixture
            if done:
                before, after = (select_restarts(m, left) for m in (mixture, after))
            alive, mixture = [alive[i] for i in left], after
    except KeyboardInterrupt:
        interrupted = True
    for i, index in enumerate(alive):
        restart = restarts[index]
        restart.mixture, restart.before = (select_restarts(m, [i]) for m in (mixture, before))
        restart.interrupted = interrupted
        restart.status = (
            f"interrupted in step {len(restart.history) + 1}"
            if interrupted
            else f"stopped after max_iter={fitter.max_iter} steps, while the mean {what} still "
            f"changed by {restart.change:.3g} a step; raise max_iter, or go on from here"
        )
    return _results(fitter, rows, restarts, recovery)


def _update(restart: _Restart, likelihood: float, objective: float, tol: float, what: str) -> bool:
    """Notes where a restart stands; returns whether it has ended (never, if ``tol`` is NaN)."""
    if not math.isfinite(objective):
        restart.status = _out_of_range(len(restart.history), likelihood)
        return True
    restart.history.append(likelihood)
    restart.change, restart.objective = objective - restart.objective, objective
    restart.converged = abs(restart.change) < tol
    if restart.converged:
        restart.status = (
            f"converged: the mean {what} changed by {restart.change:.3g}, less than "
            f"tol={tol:g}, in step {len(restart.history)}"
        )
    return restart.converged


def _out_of_range(n_steps: int, likelihood: float) -> str:
    return (
        f"stopped after {n_steps} steps: the log-likelihood is {likelihood}, so some rows are too "
        "far from all components for the numbers' range; standardize the features, or start nearer"
    )


def _evaluate(fitter: EMFitter, rows: Rows, mixture: GaussianMixture) -> tuple[float, float]:
    """The mean log-likelihood, and with the prior's share what was maximized."""
    likelihood, weight = Expectation(mixture, only_likelihood=True).read(rows).mean_log_likelihood()
    if fitter.prior is None:
        return likelihood.item(), likelihood.item()
    return likelihood.item(), (likelihood + fitter.prior.log_density(mixture) / weight).item()


def _results(
    fitter: EMFitter, rows: Rows, restarts: list[_Restart], recovery: Recovery
) -> list[EMResult]:
    results = []
    for restart, events in zip(restarts, recovery.events, strict=True):
        mixture, before = restart.mixture, restart.before
        assert mixture is not None and before is not None
        log_likelihood, objective = _evaluate(fitter, rows, mixture)
        if not math.isfinite(objective) and restart.history:
            restart.status = _out_of_range(len(restart.history), log_likelihood)
            restart.converged, mixture = False, before
            log_likelihood, objective = _evaluate(fitter, rows, mixture)
        single = mixture.covariance.reindex(lambda t: t[0])
        results.append(
            EMResult(
                mixture=GaussianMixture(
                    mixture.weights[0], mixture.means[0], single, missing=mixture.missing
                ),
                converged=restart.converged,
                status=restart.status,
                n_iter=len(restart.history),
                log_likelihood=log_likelihood,
                history=torch.tensor(restart.history, dtype=torch.float64),
                events=tuple(events),
                restarts=torch.tensor([log_likelihood], dtype=torch.float64),
                reg_covar=fitter.reg_covar,
                objective=objective,
                interrupted=restart.interrupted,
            )
        )
    return results
