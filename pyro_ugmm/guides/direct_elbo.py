"""The evidence lower bound of our models, without a trace."""

from typing import Any

from torch import Tensor

from ..models import BayesianModel
from .reparameterized import Reparameterized, reparameterized

__all__ = ["DirectELBO", "direct_elbo"]


class DirectELBO:
    r"""The negative evidence lower bound, estimated from all particles in one call.

    .. math:: -\frac{1}{S} \sum_s \Bigl[\log p(\theta_s) + \frac{N}{n} \sum_i \log p(y_i \mid
        x_i, \theta_s) - \log q(\theta_s)\Bigr]

    It equals Pyro's ``Trace_ELBO``, in value and gradient. Priors and bijections are those that
    the model and the guide have now.

    Args:
        model: the model.
        draws: of its guide.
        num_particles: :math:`S`.
        size: :math:`N`, the rows of the full data.
    """

    def __init__(
        self, model: BayesianModel, draws: Reparameterized, num_particles: int, size: int
    ) -> None:
        self._model, self._draws, self._size = model, draws, size
        self._priors, self._num_particles = model.site_distributions(), num_particles

    def loss(self, *rows: Tensor) -> Tensor:
        """Estimates it from rows, the last of which are observed."""
        batch = () if self._num_particles == 1 else (self._num_particles, 1)  # beside rows
        return self._of_particles(batch, *rows).mean()

    def losses(self, *rows: Tensor) -> Tensor:
        """Estimates it for each of ``S`` models and guides, whose parameters are ``(S, 1)``."""
        return self._of_particles((self._num_particles,), *rows).mean((0, 2))

    def _of_particles(self, batch: tuple[int, ...], *rows: Tensor) -> Tensor:
        """Estimates it from each particle."""
        position, log_q = self._draws.rsample(batch)
        values, volume = self._draws.coordinates.values(position)
        difference = log_q - volume
        for name, prior in self._priors.items():
            difference = difference - prior.log_prob(values[name])
        terms = self._model.terms_beside(values, *rows)
        return difference - terms.mean(-1, keepdim=difference.dim() > 0) * self._size


def direct_elbo(model: Any, guide: Any, num_particles: int, size: int) -> DirectELBO | None:
    """Returns the bound of one of our models under a guide that has run and reparameterizes.

    It is None of any others, and of a guide of other sites than the model's.
    """
    if not isinstance(model, BayesianModel):
        return None
    draws, sites = reparameterized(guide), model.latent_sites()
    own = {name: site.shape for name, site in sites.items()}
    if draws is None or {n: site.shape for n, site in draws.coordinates.sites.items()} != own:
        return None
    return DirectELBO(model, draws, num_particles, size)
