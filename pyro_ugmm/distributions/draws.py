"""Draws of the multivariate Gaussian mixture."""

import torch
from torch import Tensor

from .arguments import sample_size
from .parameters import MixtureParameters
from .pathwise import reparameterize_rows
from .sampling import draw_components, draw_rows

__all__ = ["SampledMixture"]


class SampledMixture(MixtureParameters):
    """A mixture that is drawn from."""

    has_rsample = True

    @torch.no_grad()
    def sample_with_component(
        self, sample_shape=(), generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws rows, ``sample_shape + batch_shape + (D,)``, and the component of each.

        Args:
            sample_shape: of how many draws; sizes may be zero.
            generator: of random numbers, on the mixture's device; torch's own by default.
        """
        component = draw_components(self.weights, sample_size(sample_shape), generator)
        return draw_rows(self.means, self.covariance, component, generator), component

    def sample(self, sample_shape=(), generator: torch.Generator | None = None) -> Tensor:
        """Draws rows of shape ``sample_shape + batch_shape + (D,)``, without gradients."""
        return self.sample_with_component(sample_shape, generator)[0]

    def rsample(self, sample_shape=(), generator: torch.Generator | None = None) -> Tensor:
        r"""Draws rows with pathwise gradients with respect to weights, means and covariance.

        With responsibilities :math:`r_k`, means and covariances move a draw by

        .. math:: \mathrm{d}x = \sum_k r_k(x) \left[\mathrm{d}\mu_k
            + \tfrac12 \mathrm{d}\Sigma_k \Sigma_k^{-1} (x - \mu_k)\right],

        and weights so that the CDF of each dimension given those before it stays what it is
        (Figurnov, Mohamed and Mnih 2018, arXiv:1805.08498; Jankowiak and Obermeyer 2018,
        arXiv:1806.01851). The weights' gradients take memory of the size draws by ``K D D``.

        The gradients are unbiased, but those with respect to the weights have a large variance
        where components are far apart, since weight moves from one to the other through the gap
        between them; there, sum over the components instead.
        """
        value = self.sample(sample_shape, generator)
        matrices = self.covariance.dense(self.n_components, self.n_features)
        return reparameterize_rows(value, self.log_weights, self.means, matrices)
