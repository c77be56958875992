"""A guide that is a normalizing flow."""

from collections.abc import Callable, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.infer.autoguide import AutoContinuous
from pyro.nn import PyroParam
from torch import Tensor
from torch.distributions.transforms import AffineTransform

from ..checks import check_integer
from .start import INIT_SCALE, started

__all__ = ["AutoFlow", "flow"]


class AutoFlow(AutoContinuous):
    """A neural spline flow over all sites' unconstrained values, as zuko has it, then scaled.

    Args:
        model: the model.
        init_loc_fn: as Pyro's autoguides take it.
        init_scale: by which the flow is scaled at first.
        transforms: how many layers the flow has.
        hidden_features: the widths of the networks in each.

    Example:
        >>> from pyro_ugmm.guides import AutoFlow, flow
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> isinstance(flow(BayesianGaussianMixture(1, 1), hidden_features=[8]), AutoFlow)
        True
    """

    def __init__(
        self,
        model: Callable,
        init_loc_fn: Callable,
        init_scale: float,
        transforms: int,
        hidden_features: Sequence[int],
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn)
        self._init_scale = init_scale
        self.transforms, self.hidden_features = transforms, tuple(hidden_features)

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        from zuko.flows import NSF

        super()._setup_prototype(*args, **kwargs)
        self.loc = torch.nn.Parameter(self._init_loc())
        scale = torch.full_like(self.loc, self._init_scale)
        self.scale = PyroParam(scale, constraints.softplus_positive)
        # Coupling, so that to draw takes as long as to evaluate.
        passes = 2 if self.latent_dim > 1 else None
        sizes = {"transforms": self.transforms, "hidden_features": self.hidden_features}
        self.flow = NSF(self.latent_dim, passes=passes, **sizes).to(self.loc)

    def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
        """The distribution of all unconstrained values."""
        return dist.TransformedDistribution(
            self.flow(), [AffineTransform(self.loc, self.scale, event_dim=1)]
        )

    def _loc_scale(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            draws = self.get_posterior().sample((1000,))
        return draws.mean(0), draws.std(0)


def flow(
    model: Callable,
    *,
    start: Any = None,
    x: Any = None,
    y: Any = None,
    init_scale: float = INIT_SCALE,
    transforms: int = 2,
    hidden_features: Sequence[int] = (32,),
) -> AutoFlow:
    r"""Makes a guide that is a normalizing flow, for posteriors that are far from normal.

    .. math:: \theta = T\bigl(m + s \odot f(z)\bigr), \qquad z \sim \mathcal{N}(0, I)

    with :math:`f` a neural spline flow of coupling layers (Durkan and others 2019,
    arXiv:1906.04032) from the package ``zuko``: ``pip install pyro-ugmm[flows]``. Given data, the
    :math:`s` start at the curvature's scales. The other arguments and errors are those of
    :func:`mean_field`. For several starts give this function: ``fit_svi(model, flow, ...)``.

    Args:
        model: the model.
        start: a point estimate.
        x: data.
        y: labels or targets.
        init_scale: the initial :math:`s_i` where there are no data.
        transforms: how many layers the flow has.
        hidden_features: the widths of the networks in each.

    Raises:
        ImportError: if zuko is not installed, when the guide first runs.

    Example:
        >>> import torch
        >>> from pyro_ugmm.guides import flow
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> model = BayesianGaussianMixture(2, 2)
        >>> guide = flow(model, transforms=3)
        >>> type(guide).__name__
        'AutoFlow'
    """
    transforms = check_integer("transforms", transforms)
    widths = [check_integer("hidden_features", width) for width in hidden_features]
    options = {"transforms": transforms, "hidden_features": widths}
    guide, curvature = started(AutoFlow, model, start, (x, y), init_scale, **options)
    if curvature is not None:
        with torch.no_grad():
            guide.scale = curvature.conditional_scales
    return guide
