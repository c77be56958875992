"""What the ratios of posterior and guide say of draws from the guide, and correct in them."""

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from ..checks import check, check_integer, check_seed
from .arviz_interface import (
    check_inference_data,
    group_names,
    smoothed_weights,
    with_draws,
)
from .held_sites import held_sites

if TYPE_CHECKING:
    from .arviz_interface import InferenceData

__all__ = ["good_k", "importance_resample", "pareto_k", "warn_of_held_sites"]

_LEAST_DRAWS = 100


def good_k(n_draws: int) -> float:
    """The largest Pareto k at which so many draws can be weighted reliably."""
    return min(1 - 1 / math.log10(n_draws), 0.7) if n_draws > 1 else 0.0


def _log_ratio(idata: "InferenceData") -> np.ndarray:
    r"""The log of :math:`p(y, \theta) / q(\theta)` of each draw, ``(S,)``."""
    check_inference_data(idata)
    stats = [*idata.sample_stats] if "sample_stats" in group_names(idata) else []
    expected = "draws from a guide given data: log_p and log_q in sample_stats"
    check({"log_p", "log_q"} <= {*stats}, "idata", expected, f"{stats} there")
    return (idata.sample_stats["log_p"] - idata.sample_stats["log_q"]).values.reshape(-1)


def warn_of_held_sites(idata: "InferenceData") -> bool:
    """Warns if the guide holds sites at a point, which weights cannot mend; says whether it does.

    The warning is attributed to the caller's caller.
    """
    held = held_sites(idata)
    if held:
        message = f"the guide holds {', '.join(held)} at a point, which no weighting can widen"
        warnings.warn(message, stacklevel=3)
    return bool(held)


def pareto_k(idata: "InferenceData") -> tuple[float, str]:
    r"""Judges a guide by the tail of the ratios :math:`p(y, \theta) / q(\theta)` of its draws.

    Fits a generalized Pareto distribution to the largest ratios and returns its shape
    :math:`\hat k`, with the verdict in words. The guide is good enough below
    :math:`\min(1 - 1 / \log_{10} S, 0.7)`, near its own mode: what it does not reach has no ratios,
    and is found by :func:`pyro_ugmm.sampling.sample_posterior`. Of a guide that holds at a point
    what the prior leaves open, as ``AutoDelta`` does, :math:`\hat k` is NaN, and the verdict names
    the sites: the ratios do not see what no draw varies. Sources: Yao, Vehtari, Simpson and Gelman
    (2018), arXiv:1802.02538; for the limit, Vehtari and others (2024), arXiv:1507.02646.

    Args:
        idata: what :func:`to_inference_data` made of a guide and data.

    Raises:
        ValueError: if the log densities are not there.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import pareto_k, to_inference_data
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x = torch.cat([torch.randn(20, 1) - 3, torch.randn(20, 1) + 3])
        >>> model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
        >>> idata = to_inference_data(model, mean_field(model), x, num_samples=100, seed=0)
        >>> pareto_k(idata)[1]  # of a guide that was not fitted
        'the guide is too narrow, or misses dependence between parameters: ...'
    """
    log_ratio = _log_ratio(idata)
    if len(log_ratio) < _LEAST_DRAWS:
        return math.nan, f"not to be told from fewer than {_LEAST_DRAWS} draws"
    held = held_sites(idata)
    if held:
        sites = ", ".join(held)
        what = f"draws all alike of {sites}, which the guide holds at a point"
        return math.nan, f"not to be told from {what}: no weighting can widen these"
    is_constant = np.ptp(log_ratio) < 1e-6 * max(1.0, float(np.abs(log_ratio).max()))
    k = -math.inf if is_constant else float(smoothed_weights(log_ratio)[1])
    if k < good_k(len(log_ratio)):
        verdict = (
            "near its own mode the guide is close enough to the posterior for importance_resample "
            "to correct what is left, such as intervals that are too narrow; a mode that it missed "
            "is not seen"
        )
    else:
        verdict = (
            "the guide is too narrow, or misses dependence between parameters: trust its "
            "predictions after checking them on held-out rows, not its intervals; "
            "sample_posterior(model, x, y, start=guide) goes on from it to the posterior"
        )
    return k, verdict


def importance_resample(
    idata: "InferenceData", num_samples: int | None = None, *, seed: int | None = None
) -> "InferenceData":
    r"""Corrects draws of a guide: chooses among them as the posterior would have them.

    A draw :math:`\theta_s` is chosen, with replacement, with a probability in proportion to
    :math:`p(y, \theta_s) / q(\theta_s)`, smoothed by Pareto's distribution. What is narrower in
    the guide than in the posterior becomes wider, as far as the guide's draws reach; where
    :func:`pareto_k` says that the guide is too narrow, they do not reach far enough; sites that the
    guide holds at a point stay there, with a warning. Sources:
    Vehtari and others (2024), *Pareto smoothed importance sampling*, arXiv:1507.02646; Rubin (1988)
    for the resampling.

    Args:
        idata: what :func:`to_inference_data` made of a guide and data.
        num_samples: how many draws to choose; as many as there are if None.
        seed: for the choice.

    Returns:
        A copy in which ``posterior``, ``posterior_predictive``, ``log_likelihood`` and
        ``sample_stats`` are of the draws chosen. The posterior's ``attrs`` say by
        ``effective_draws`` how many independent draws they are worth. :func:`loo` takes them for
        draws from the posterior.

    Raises:
        ValueError: if the log densities are not there.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import importance_resample, to_inference_data
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x = torch.cat([torch.randn(20, 1) - 3, torch.randn(20, 1) + 3])
        >>> model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
        >>> idata = to_inference_data(model, mean_field(model), x, num_samples=100, seed=0)
        >>> importance_resample(idata, num_samples=50, seed=0).posterior.sizes["draw"]
        50
    """
    log_ratio = _log_ratio(idata)
    if num_samples is not None:
        num_samples = check_integer("num_samples", num_samples)
    seed = check_seed("seed", seed)
    check(len(log_ratio) > 1, "idata", "two draws or more", "one")
    warn_of_held_sites(idata)
    weights = np.exp(smoothed_weights(log_ratio)[0])
    weights = weights / weights.sum()
    count = len(weights) if num_samples is None else num_samples
    chosen = np.random.default_rng(seed).choice(len(weights), count, p=weights)
    groups = ("posterior", "posterior_predictive", "log_likelihood", "sample_stats")
    result = with_draws(idata, groups, chosen, without="log_q")
    result.posterior.attrs["effective_draws"] = float(1 / np.square(weights).sum())
    return result
