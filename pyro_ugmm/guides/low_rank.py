"""A guide with some correlations."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.infer.autoguide import AutoLowRankMultivariateNormal

from ..checks import check_integer
from .start import INIT_SCALE, started

__all__ = ["low_rank"]


def low_rank(
    model: Callable,
    *,
    rank: int | None = None,
    start: Any = None,
    x: Any = None,
    y: Any = None,
    init_scale: float = INIT_SCALE,
) -> AutoLowRankMultivariateNormal:
    r"""Makes Pyro's ``AutoLowRankMultivariateNormal`` for a model: some correlations.

    .. math:: q(\theta) = \mathcal{N}\bigl(u \mid m, \, S (I + F F^T) S\bigr), \qquad \theta = T(u)

    with :math:`F` of ``rank`` columns, by default the square root of the number of latent values.
    Given data, the marginal scales start at those of the inverse curvature. The other arguments
    and errors are those of :func:`mean_field`.

    Example:
        >>> import torch
        >>> from pyro_ugmm.guides import low_rank
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x = torch.randn(100, 2)
        >>> model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(x))
        >>> guide = low_rank(model, rank=2)
        >>> sorted(guide(x))
        ['correlations', 'means', 'variances', 'weights']
    """
    if rank is not None:
        rank = check_integer("rank", rank)
    kind = AutoLowRankMultivariateNormal
    guide, curvature = started(kind, model, start, (x, y), init_scale, rank=rank)
    if curvature is not None:
        factor = curvature.covariance_factor
        with torch.no_grad():
            spread = (1 + guide.cov_factor.square().sum(-1)).sqrt()
            guide.scale = factor.square().sum(-1).sqrt() / spread
    return guide
