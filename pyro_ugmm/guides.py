"""Guides that start where the model stands."""

from pyro import poutine
from pyro.infer.autoguide import AutoNormal
from pyro.infer.autoguide.initialization import init_to_value

from .checks import check
from .models import UGMMClassifier
from .nn.local_parameters import localize

__all__ = ["mean_field"]


def mean_field(model: UGMMClassifier, *, init_scale: float = 0.05) -> AutoNormal:
    r"""Makes Pyro's ``AutoNormal`` for a model, started where its network stands.

    .. math:: q(\theta) = \prod_i \mathcal{N}(u_i \mid m_i, s_i^2), \qquad \theta = T(u)

    with :math:`T` the bijection from the reals to the support of each site
    (Kucukelbir and others 2017, JMLR 18(14)). The parameters belong to this guide alone, not to
    Pyro's parameter store.

    Args:
        model: the model, whose network gives the initial locations.
        init_scale: the initial :math:`s_i`.

    Raises:
        ValueError: if the model has no priors.
    """
    values = model.network_values()
    check(values, "model", "a model with priors", "priors=None, which leaves nothing to infer")
    latent = poutine.block(model, hide=["y"])  # so that the guide runs without labels too
    guide = AutoNormal(latent, init_loc_fn=init_to_value(values=values), init_scale=init_scale)
    localize(guide)
    return guide
