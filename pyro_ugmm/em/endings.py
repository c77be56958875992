"""How restarts of EM end, and what is said of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from .stage import Outcome, Stage, Trace, select_restarts

if TYPE_CHECKING:
    from .fitter import EMFitter

__all__ = ["converged", "cut_off", "noted", "taken_back"]


def _bound(dtype: torch.dtype) -> float:
    """What a mean log-likelihood within the numbers' range stays well below, in size.

    Whether a sum beyond it becomes infinite depends on the order in which a processor adds.
    """
    return torch.finfo(dtype).max ** 0.75


def _is_in_range(value: float, dtype: torch.dtype) -> bool:
    """Whether a mean log-likelihood is well within the range of a dtype."""
    return abs(value) < _bound(dtype)


def _clamped(value: float, dtype: torch.dtype) -> float:
    """Returns the number nearest to a mean log-likelihood that bounds the range of a dtype."""
    return min(max(value, -_bound(dtype)), _bound(dtype))


def _objective(fitter: EMFitter) -> str:
    return "log-likelihood" if fitter.prior is None else "log posterior"


def converged(trace: Trace, fitter: EMFitter) -> str:
    """Says that a restart has converged."""
    return (
        f"converged: the mean {_objective(fitter)} changed by {trace.change:.3g}, less than "
        f"tol={fitter.tol:g}, in step {len(trace.history)}"
    )


def _ended(i: int, trace: Trace, stage: Stage, fitter: EMFitter) -> Outcome:
    """Returns a restart that ends with its mixture, the ``i``-th of those at work."""
    assert stage.mixture is not None
    changed = f"the last of which changed the mean {_objective(fitter)} by {trace.change:.3g}"
    if math.isinf(trace.change):
        changed = "from a start that was beyond the numbers' range"
    stopped = (
        f"stopped after max_iter={fitter.max_iter} steps, {changed}; raise max_iter, or go on "
        "from here"
    )
    return Outcome(
        index=trace.index,
        mixture=select_restarts(stage.mixture, [i]),
        history=trace.history[: stage.n_steps],
        likelihood=trace.likelihood,
        objective=trace.objective,
        converged=bool(trace.verdict),
        status=trace.verdict or stopped,
    )


def taken_back(i: int, trace: Trace, stage: Stage) -> Outcome:
    """Returns a restart whose last step led beyond the numbers' range."""
    n_steps = stage.n_steps
    last = stage.evaluated if n_steps else stage.mixture
    assert last is not None
    where = f"after step {n_steps}, which was taken back" if n_steps else "at the start"
    return Outcome(
        index=trace.index,
        mixture=select_restarts(last, [i]),
        history=trace.history[:n_steps],
        likelihood=trace.likelihood if n_steps else -math.inf,
        objective=trace.objective,
        converged=False,
        status=f"stopped: {where}, some rows were too far from all components for the range "
        f"of {last.means.dtype}; standardize the features, or start nearer",
    )


def cut_off(i: int, trace: Trace, stage: Stage) -> Outcome:
    """Returns a restart that the keyboard interrupted."""
    n_steps = stage.n_known_steps
    last = stage.mixture if stage.evaluated is None else stage.evaluated
    assert last is not None
    begun = f"interrupted in step {n_steps + 1}"
    not_begun = "interrupted before the first step: this is the start"
    return Outcome(
        index=trace.index,
        mixture=select_restarts(last, [i]),
        history=trace.history[:n_steps],
        likelihood=trace.likelihood,
        objective=trace.objective,
        converged=False,
        status=not_begun if stage.evaluated is None else begun,
    )


def noted(
    stage: Stage, likelihoods: list[float], objectives: list[float], fitter: EMFitter
) -> tuple[Stage, list[int]]:
    """Notes what the mixtures were found to be worth; also returns which of them go on."""
    assert stage.mixture is not None
    dtype = stage.mixture.means.dtype
    traces, outcomes = [], []
    for i, trace in enumerate(stage.traces):
        values = likelihoods[i], objectives[i]
        is_sound = all(_is_in_range(value, dtype) for value in values)
        if not is_sound and stage.n_steps == 0 and not math.isnan(sum(values)):
            # Rows that a start is far from belong to all of its components alike.
            values, is_sound = (_clamped(values[0], dtype), -math.inf), True
        if not is_sound:
            outcomes.append(taken_back(i, trace, stage))
            traces.append(trace)
            continue
        likelihood, objective = values
        change = objective - trace.objective
        trace = replace(trace, likelihood=likelihood, objective=objective, change=change)
        if trace.verdict or stage.n_steps == fitter.max_iter:
            outcomes.append(_ended(i, trace, stage, fitter))
        traces.append(trace)
    stage = replace(stage, traces=tuple(traces), evaluated=stage.mixture)
    gone = {outcome.index for outcome in outcomes}
    left = [i for i, trace in enumerate(traces) if trace.index not in gone]
    return stage.ended(outcomes), left
