"""Guides that start where the model, or a point estimate, stands."""

from typing import Any

import torch
from pyro import poutine
from pyro.infer.autoguide import (
    AutoGuide,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)
from pyro.infer.autoguide.initialization import init_to_value
from pyro.infer.autoguide.utils import deep_setattr
from torch import Tensor

from .checks import check, check_integer, check_number
from .curvature import Curvature, posterior_curvature
from .model_rows import model_rows
from .models.base import BayesianModel, check_model
from .nn.local_parameters import localize
from .precision import full_precision
from .pyro_state import exclusive_pyro
from .trainable import trainable

__all__ = ["full_rank", "low_rank", "mean_field"]

_INIT_SCALE = 0.05


def _rows(model: BayesianModel, x: Any, y: Any) -> tuple[Tensor, ...]:
    """The data that a guide is given, which may be none."""
    check(x is not None or y is None, "x", "what comes with y", "None")
    if x is None:
        return ()
    check(y is not None or model.observed != "y", "y", "labels, with x", "None")
    return model_rows(model, x, y)


@full_precision
def _start(
    kind: type[AutoGuide],
    model: BayesianModel,
    start: Any,
    data: tuple[Any, Any],
    scale: float,
    **rest: Any,
) -> tuple[Any, Curvature | None]:
    """Makes a guide at a start; given data, also its parameters, and the curvature there."""
    check_model(model)
    expected = "a positive number"
    scale = check_number("init_scale", scale, lambda s: 0 < s < float("inf"), expected)
    with exclusive_pyro(), trainable(model):
        rows = _rows(model, *data)
        values = model.start_values(start)
        expected = "a model with priors"
        check(values, "model", expected, "one without, which leaves nothing to infer")
        if start is not None:
            model.take_start(start)
        latent = poutine.block(model, hide=[model.observed])  # so that it runs without data too
        guide = kind(latent, init_loc_fn=init_to_value(values=values), init_scale=scale, **rest)
        localize(guide)
        if not rows:
            return guide, None
        curvature = posterior_curvature(model, values, *rows)
        with torch.no_grad():
            guide(*rows)
    return guide, curvature


def mean_field(
    model: BayesianModel,
    *,
    start: Any = None,
    x: Any = None,
    y: Any = None,
    init_scale: float = _INIT_SCALE,
) -> AutoNormal:
    r"""Makes Pyro's ``AutoNormal`` for a model, started where the model or an estimate stands.

    .. math:: q(\theta) = \prod_i \mathcal{N}(u_i \mid m_i, s_i^2), \qquad \theta = T(u)

    with :math:`T` the bijection from the reals to the support of each site
    (Kucukelbir and others 2017, JMLR 18(14)). The parameters belong to this guide alone, not to
    Pyro's parameter store.

    Args:
        model: the model; it gives the initial locations if there is no ``start``.
        start: a point estimate: for a mixture the one that EM found, for a network another
            network of its sizes. What has no prior is copied from it to the model, too, unless it
            does not require gradients.
        x: data, as the model takes them. Given these, the initial scales come from the curvature
            of the log posterior at the start: :math:`s_i = h_{ii}^{-1/2}`.
        y: labels, for a network.
        init_scale: the initial :math:`s_i` where there are no data.

    Raises:
        ValueError: if the model has no priors, or the start or data do not fit it.

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
    guide, curvature = _start(AutoNormal, model, start, (x, y), init_scale)
    if curvature is not None:
        with torch.no_grad():
            for site, scale in curvature.by_site(curvature.conditional_scales).items():
                deep_setattr(guide.scales, site, scale)
    return guide


def full_rank(
    model: BayesianModel,
    *,
    start: Any = None,
    x: Any = None,
    y: Any = None,
    init_scale: float = _INIT_SCALE,
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
    guide, curvature = _start(AutoMultivariateNormal, model, start, (x, y), init_scale)
    if curvature is not None:
        factor = curvature.covariance_factor
        with torch.no_grad():
            guide.scale = factor.diagonal().clone()
            guide.scale_tril = factor / guide.scale.unsqueeze(-1)
    return guide


def low_rank(
    model: BayesianModel,
    *,
    rank: int | None = None,
    start: Any = None,
    x: Any = None,
    y: Any = None,
    init_scale: float = _INIT_SCALE,
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
    guide, curvature = _start(kind, model, start, (x, y), init_scale, rank=rank)
    if curvature is not None:
        factor = curvature.covariance_factor
        with torch.no_grad():
            spread = (1 + guide.cov_factor.square().sum(-1)).sqrt()
            guide.scale = factor.square().sum(-1).sqrt() / spread
    return guide
