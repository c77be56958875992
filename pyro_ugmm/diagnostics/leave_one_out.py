"""Leave-one-out cross-validation from draws of a guide."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check
from .arviz_interface import (
    check_inference_data,
    elpd_data,
    group_names,
    relative_efficiency,
    smoothed_weights,
)
from .importance import good_k, warn_of_held_sites
from .pointwise import with_one_likelihood

if TYPE_CHECKING:
    from .arviz_interface import InferenceData

__all__ = ["loo"]


def loo(idata: "InferenceData", *, var_name: str | None = None) -> Any:
    r"""Estimates the expected log density of rows left out, from draws of a guide or of MCMC.

    Draws :math:`\theta_s` of a guide are weighted, for the row :math:`i`, by

    .. math:: \frac{p(y, \theta_s)}{q(\theta_s) \, p(y_i \mid \theta_s)}

    smoothed by Pareto's distribution; ``arviz.loo`` by itself takes them for draws from the
    posterior, which leaves out :math:`p / q`. Of draws from MCMC this is ``arviz.loo``. Source:
    Magnusson, Andersen, Jonasson and Vehtari (2019), arXiv:1904.10679.

    Args:
        idata: what :func:`to_inference_data` made, given data.
        var_name: the observed site whose rows are left out, of a program with rows in several
            plates; by default, all that is observed of a row is left out together.

    Returns:
        ArviZ's ``ELPDData``, row by row: what ``arviz.compare`` and ``arviz.plot_khat`` take.
        Where its ``pareto_k`` of a row is above ``good_k``, do not trust that row's value; nor any,
        if a warning says that the guide holds a site at a point.

    Raises:
        ValueError: if there are no log-likelihoods, or not of the rows of one plate.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import loo, to_inference_data
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x = torch.cat([torch.randn(20, 1) - 3, torch.randn(20, 1) + 3])
        >>> model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
        >>> idata = to_inference_data(model, mean_field(model), x, num_samples=100, seed=0)
        >>> loo(idata).n_data_points
        40
    """
    from scipy.special import logsumexp

    check_inference_data(idata)
    groups = group_names(idata)
    expected = "a group log_likelihood (there is none without data, nor of a score objective)"
    check("log_likelihood" in groups, "idata", expected, f"groups {groups}")
    idata = with_one_likelihood(idata, var_name)
    (site,) = idata.log_likelihood.data_vars
    n_samples = idata.posterior.sizes["chain"] * idata.posterior.sizes["draw"]
    check(n_samples > 1, "idata", "two draws or more", "one")
    stacked = idata.log_likelihood[site].astype(float).stack(__sample__=("chain", "draw"))
    log_likelihood = stacked.transpose(..., "__sample__")
    is_guide = "sample_stats" in groups and "log_q" in idata.sample_stats
    is_held = is_guide and warn_of_held_sites(idata)
    log_ratio, efficiency = np.zeros(n_samples), 1.0
    if is_guide:
        difference = idata.sample_stats["log_p"] - idata.sample_stats["log_q"]
        log_ratio = difference.values.reshape(-1)
    else:
        efficiency = relative_efficiency(idata)
    weights, pareto_k = smoothed_weights(log_ratio - log_likelihood, efficiency)
    posterior_weights, _ = smoothed_weights(log_ratio)
    pointwise, fitted = (
        (log_likelihood + w).reduce(logsumexp, dim="__sample__")
        for w in (weights, posterior_weights)
    )
    limit = good_k(n_samples)
    return elpd_data(
        {
            "p_loo": float((fitted - pointwise).sum()),
            "n_samples": n_samples,
            "n_data_points": pointwise.size,
            "warning": is_held or bool((pareto_k > limit).any()),
            "loo_i": pointwise.rename("loo_i"),
            "pareto_k": pareto_k,
            "scale": "log",
            "good_k": limit,
        }
    )
