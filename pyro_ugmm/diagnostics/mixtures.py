"""The mixture of each posterior draw."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..checks import check, check_choice, check_integer
from ..distributions import GaussianMixture
from ..models import BayesianGaussianMixture
from .arviz_interface import check_inference_data

if TYPE_CHECKING:
    from .arviz_interface import InferenceData

__all__ = ["mixture_draws"]


def mixture_draws(
    model: BayesianGaussianMixture,
    idata: "InferenceData",
    num_samples: int | None = None,
    *,
    group: str = "posterior",
) -> GaussianMixture:
    r"""Makes the mixture of each draw, of which new rows can be asked.

    With :math:`\theta_s` the draws, the posterior predictive density of a new row is
    :math:`\frac{1}{S} \sum_s p(x \mid \theta_s)`, and its probability of belonging to a component,
    of draws with matched labels (:func:`relabel`), the mean of its responsibilities.

    Args:
        model: the model.
        idata: its draws, from :func:`to_inference_data`.
        num_samples: how many draws to take, evenly spread over all; all if None.
        group: ``"posterior"`` or ``"prior"``.

    Returns:
        A mixture of batch shape ``(S, 1)``: rows of shape ``(n, D)`` have log densities of shape
        ``(S, n)`` and responsibilities of shape ``(S, n, K)``.

    Raises:
        ValueError: if the draws are of another model, or there is no such group.

    Example:
        >>> import math, torch
        >>> from pyro_ugmm.diagnostics import mixture_draws, relabel, to_inference_data
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x, new = torch.randn(30, 2), torch.randn(5, 2)
        >>> model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(x))
        >>> idata = to_inference_data(model, mean_field(model), x, num_samples=100)
        >>> draws = mixture_draws(model, relabel(idata))
        >>> (draws.log_prob(new).logsumexp(0) - math.log(100)).shape  # log predictive density
        torch.Size([5])
        >>> draws.responsibilities(new).mean(0).shape
        torch.Size([5, 2])
    """
    is_mixture = isinstance(model, BayesianGaussianMixture)
    check(is_mixture, "model", "a BayesianGaussianMixture", type(model).__name__)
    check_choice("group", group, ("posterior", "prior"))
    check_inference_data(idata, group)
    sites = model.site_distributions()
    draws = idata[group]
    missing = sorted(sites.keys() - {*draws.data_vars})
    check(not missing, "idata", f"draws of {[*sites]}", f"none of {missing}")
    stacked = {site: draws[site].values.reshape(-1, *draws[site].shape[2:]) for site in sites}
    n_draws = len(next(iter(stacked.values())))
    if num_samples is not None:
        num_samples = check_integer("num_samples", num_samples)
    chosen = np.linspace(0, n_draws - 1, min(num_samples or n_draws, n_draws)).astype(int)
    values = {}
    for site, prior in sites.items():
        value, shape = stacked[site], tuple(prior.event_shape)
        fits = value.shape[1:] == shape
        check(fits, "idata", f"draws of {site} of shape {shape}", value.shape[1:])
        values[site] = torch.from_numpy(value[chosen]).to(model.sites.center).unsqueeze(1)
    with torch.no_grad():
        return model.mixture(values)
