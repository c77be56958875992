"""A fit by a single call of the library in C, which is over before one notices."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..distributions import GaussianMixture
from .conjugate_prior import ConjugatePrior
from .engines import suits
from .native_call import EXTRAORDINARY, Problems, take_steps
from .native_steps import NativeSteps, Workload, unavailable
from .result import EMResult
from .rows import Rows
from .stopping import StoppingRule, Tolerance

__all__ = ["quick_fit"]


def quick_fit(
    x: Any,
    start: Any,
    sample_weight: Any,
    *,
    engine: str,
    stopping: StoppingRule,
    max_iter: int,
    reg_covar: float,
    prior: ConjugatePrior | None,
    missing: str | None,
    is_plain: bool,
) -> EMResult | None:
    """Fits rows that are a plain tensor or array, if that is all there is to do.

    Returns ``None``, having changed nothing, where it takes longer, another engine serves, or the
    start or a step is out of the ordinary.
    """
    n_rows = _n_rows(x, start) if is_plain else 0
    if not n_rows or missing not in (None, "error") or engine == "torch":
        return None
    if unavailable(start, n_rows, stopping, prior) or not isinstance(stopping, Tolerance):
        return None
    work = Workload(start, n_rows)
    if not 0 < max_iter <= work.longest or not suits(engine, start, n_rows):
        return None
    rows = Rows(x, start.means, sample_weight)
    rows.normalize_weights()
    run = take_steps(
        Problems.of_restarts(*rows.whole(), start.batch_shape.numel()),
        start,
        max_iter,
        reg_covar=reg_covar,
        tol=stopping.tol,
        is_whole=True,
        n_threads=work.n_threads,
    )
    if EXTRAORDINARY in run.outcomes:
        return None
    likelihoods = [values[taken] for values, taken in zip(run.values, run.n_steps, strict=True)]
    best = max(range(len(likelihoods)), key=likelihoods.__getitem__)  # the first of equals
    n_steps, values = run.n_steps[best], run.values[best]
    status, reason = run.ending(best, stopping)
    return EMResult(
        mixture=run.mixture(best if start.batch_shape else ()),
        status=status,
        reason=reason,
        n_iter=n_steps,
        log_likelihood=likelihoods[best],
        objective=likelihoods[best],
        history=torch.tensor(values[:n_steps], dtype=torch.float64, device="cpu"),
        events=(),
        restarts=torch.tensor(likelihoods, dtype=torch.float64, device="cpu"),
        reg_covar=reg_covar,
        engine=NativeSteps.name,
    )


def _n_rows(x: Any, start: Any) -> int:
    """Counts the rows that are plain, as is the start; otherwise, zero."""
    is_plain = type(x) in (Tensor, np.ndarray) and x.ndim == 2
    is_mixture = isinstance(start, GaussianMixture) and len(start.batch_shape) <= 1
    return len(x) if is_plain and is_mixture else 0
