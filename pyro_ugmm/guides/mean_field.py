"""A guide of independent normal distributions."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.infer.autoguide import AutoNormal
from pyro.infer.autoguide.utils import deep_setattr

from .start import INIT_SCALE, started

__all__ = ["mean_field"]


def mean_field(
    model: Callable,
    *,
    start: Any = None,
    x: Any = None,
    y: Any = None,
    init_scale: float = INIT_SCALE,
) -> AutoNormal:
    r"""Makes Pyro's ``AutoNormal`` for a model, started where the model or an estimate stands.

    .. math:: q(\theta) = \prod_i \mathcal{N}(u_i \mid m_i, s_i^2), \qquad \theta = T(u)

    with :math:`T` the bijection from the reals to the support of each site
    (Kucukelbir and others 2017, JMLR 18(14)). The parameters belong to this guide alone, not to
    Pyro's parameter store.

    Args:
        model: the model, one of ours or any Pyro program; it gives the initial locations if there
            is no ``start``: ours where they stand, others the middle of each site's support.
        start: a point estimate: for a mixture the one that EM found, for a network another
            network of its sizes, and for any other program a dictionary of values by site. What
            has no prior is copied from a mixture or a network to the model, too, unless it does
            not require gradients.
        x: data, as the model takes them, or a dictionary of its arguments by name. Given these, the
            initial scales come from the curvature of the log posterior at the start:
            :math:`s_i = h_{ii}^{-1/2}`.
        y: labels or targets, for a model that takes them.
        init_scale: the initial :math:`s_i` where there are no data.

    Raises:
        ValueError: if the model has no priors, or the start or data do not fit it; or a program
            cannot be seen through (see :class:`pyro_ugmm.programs.sites.LatentSites`).

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import EMFitter, initialize
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x = torch.cat([torch.randn(100, 2) - 3, torch.randn(200, 2) + 3])
        >>> em = EMFitter().fit(x, initialize(x, n_components=2, seed=0))
        >>> model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(x))
        >>> guide = mean_field(model, start=em.mixture, x=x)
    """
    guide, curvature = started(AutoNormal, model, start, (x, y), init_scale)
    if curvature is not None:
        with torch.no_grad():
            for site, scale in curvature.by_site(curvature.conditional_scales).items():
                deep_setattr(guide.scales, site, scale)
    return guide
