"""A guide with all correlations."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.infer.autoguide import AutoMultivariateNormal

from .start import INIT_SCALE, started

__all__ = ["full_rank"]


def full_rank(
    model: Callable,
    *,
    start: Any = None,
    x: Any = None,
    y: Any = None,
    init_scale: float = INIT_SCALE,
) -> AutoMultivariateNormal:
    r"""Makes Pyro's ``AutoMultivariateNormal`` for a model, with all correlations.

    .. math:: q(\theta) = \mathcal{N}(u \mid m, LL^T), \qquad \theta = T(u)

    Its parameters grow with the square of the number of latent values. Given data,
    :math:`LL^T` starts at the inverse of the curvature, Laplace's approximation. Arguments and
    errors are those of :func:`mean_field`.

    Example:
        >>> import torch
        >>> from pyro_ugmm.guides import full_rank
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x = torch.randn(100, 2)
        >>> model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(x))
        >>> guide = full_rank(model)
        >>> sorted(guide(x))
        ['correlations', 'means', 'variances', 'weights']
    """
    guide, curvature = started(AutoMultivariateNormal, model, start, (x, y), init_scale)
    if curvature is not None:
        factor = curvature.covariance_factor
        with torch.no_grad():
            guide.scale = factor.diagonal().clone()
            guide.scale_tril = factor / guide.scale.unsqueeze(-1)
    return guide
