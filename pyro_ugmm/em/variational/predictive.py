"""The density of rows to come, given the posterior of a mixture's parameters."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ...checks import check
from ...missing_values import ALL_OBSERVED
from ...precision import full_precision
from ...tables import as_table
from .parameters import ParameterDistribution

__all__ = ["PosteriorPredictive"]

_ENTRIES_AT_ONCE = 1 << 22


class PosteriorPredictive(dist.TorchDistribution):
    r"""A row's density, averaged over a conjugate posterior: a mixture of Student's t.

    .. math:: p(x \mid X) = \sum_k \mathbb{E}[w_k] \; t_{n_k}\Bigl(x \Bigm| m_k,
        \frac{\beta_k + 1}{\beta_k} \frac{\nu_k}{n_k} \frac{\Psi_k}{\nu_k}\Bigr)

    with :math:`n_k = \nu_k - D + 1` for full covariances. Of a matrix that components share, it is
    :math:`K \nu - D + 1`, and the middle factor :math:`K \nu / n_k`; of spherical covariances,
    :math:`D \nu_k` and one; of diagonal ones, a product over features with :math:`\nu_k` and one.

    It is wider than the mixture of expected parameters, the more so the fewer rows a component
    has, and with many features its density of rows that were left out is far higher.

    Args:
        posterior: of the parameters.

    Source: Bishop (2006), *Pattern recognition and machine learning*, equation 10.81.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import VariationalEM, initialize
        >>> x = torch.cat([torch.randn(20, 2) - 5, torch.randn(20, 2) + 5])
        >>> predictive = VariationalEM().fit(x, initialize(x, 2, seed=0)).predictive
        >>> predictive
        PosteriorPredictive(n_components=2, n_features=2)
        >>> predictive.log_prob(x).shape, predictive.sample((3,)).shape
        (torch.Size([40]), torch.Size([3, 2]))
    """

    arg_constraints: dict[str, Any] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, posterior: ParameterDistribution) -> None:
        components, law = posterior.components, posterior.components.law
        self._means, self._covariance = components.means, components.covariance
        self._weights = posterior.weights.mean().to(self._means)
        degrees, strength = components.degrees_of_freedom, components.mean_precision
        of_t = law.predictive_degrees(degrees)
        scale = (1 + 1 / strength) * law.count * degrees / of_t
        self._n_joint = law.n_joint
        self._degrees = of_t.to(self._means).expand(len(self._means))
        self._scale = scale.to(self._means).expand(len(self._means))
        super().__init__(torch.Size(), self._means.shape[-1:], validate_args=False)

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``."""
        new = self._get_checked_instance(type(self), _instance)
        new.__dict__.update(self.__dict__)
        shape = torch.Size(batch_shape)
        dist.TorchDistribution.__init__(new, shape, self.event_shape, validate_args=False)
        return new

    @full_precision
    def log_prob(self, value: Any) -> Tensor:
        """Evaluates the log density of rows ``(..., D)``, in whatever holds them.

        Raises:
            ValueError: if they are of another number of features or dtype, or not finite.
        """
        table = as_table("value", value).like("the posterior", self._means)
        table.check_finite(ALL_OBSERVED)
        shape = tuple(table.values.shape)
        expected = f"{len(self._means[0])} features in the last dimension"
        check(shape[-1:] == self.event_shape, "value", expected, f"shape {shape}")
        rows = table.values.reshape(-1, *self.event_shape)
        parts = rows.split(max(1, _ENTRIES_AT_ONCE // self._means.numel()))
        densities = [self._of_components(part).logsumexp(-1) for part in parts]
        flat = torch.cat(densities) if densities else rows[:, 0]
        return flat.view(shape[:-1]).expand(torch.broadcast_shapes(shape[:-1], self.batch_shape))

    def _of_components(self, rows: Tensor) -> Tensor:
        """The log joint density of rows ``(n, D)`` and components, ``(n, K)``."""
        n_features, n_joint = rows.shape[-1], self._n_joint
        squares = self._covariance.whiten(rows.unsqueeze(1) - self._means).square()
        squares = squares.unflatten(-1, (-1, n_joint)).sum(-1)
        degrees = self._degrees.unsqueeze(-1)
        total = (degrees + n_joint) / 2
        exponent = total * (squares / (degrees * self._scale.unsqueeze(-1))).log1p()
        constant = total.lgamma() - (degrees / 2).lgamma()
        constant = n_features / n_joint * constant.squeeze(-1)
        constant = constant - n_features / 2 * (self._degrees * self._scale * math.pi).log()
        constant = constant - self._covariance.log_determinant(n_features) / 2
        return self._weights.log() + constant - exponent.sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape=()) -> Tensor:
        """Draws rows, ``sample_shape + batch_shape + (D,)``."""
        shape = torch.Size(sample_shape) + self.batch_shape
        component = torch.multinomial(self._weights, max(shape.numel(), 1), replacement=True)
        component = component[: shape.numel()]
        n_features = self.event_shape[0]
        degrees = self._degrees[component].unsqueeze(-1).expand(-1, n_features // self._n_joint)
        noise = torch.randn(len(component), n_features).to(self._means)
        at = self._covariance.place(component, len(self._means))
        noise = self._covariance.color(noise, at) * self._scale[component].sqrt().unsqueeze(-1)
        shrink = (dist.Chi2(degrees).sample() / degrees).sqrt()
        rows = self._means[component] + noise / shrink.repeat_interleave(self._n_joint, -1)
        return rows.view(*shape, n_features)

    def __repr__(self) -> str:
        n_components, n_features = self._means.shape
        return f"{type(self).__name__}(n_components={n_components}, n_features={n_features})"
