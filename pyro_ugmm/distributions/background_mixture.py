"""A Gaussian mixture beside a background that is known."""

from typing import Any, Self

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ..checks import check, check_broadcast, check_values
from ..precision import full_precision
from ..randomness import seeded
from ..tables import as_table
from .information_criteria import InformationCriteria
from .multivariate import GaussianMixture

__all__ = ["BackgroundMixture"]


class BackgroundMixture(InformationCriteria, dist.TorchDistribution):
    r"""A Gaussian mixture beside a background, such as a uniform one, for outliers.

    .. math:: p(x) = w_0 \, u(x) + (1 - w_0) \sum_{k=1}^K w_k \, \mathcal{N}(x \mid \mu_k, \Sigma_k)

    Args:
        mixture: of any batch shape.
        background: :math:`u`, a distribution of rows, of batch shape ``()``, such as
            :class:`UniformBox` or :class:`UniformHull`.
        weight: :math:`w_0`, from zero to one, in a shape that broadcasts with the batch.

    Raises:
        ValueError: if the background is of another number of features, or the weight not from zero
            to one.

    Source: Banfield and Raftery (1993), *Model-based Gaussian and non-Gaussian clustering*; the
    noise component of mclust.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import BackgroundMixture, GaussianMixture, UniformBox
        >>> from pyro_ugmm.em import initialize
        >>> x = torch.randn(100, 2)
        >>> box = UniformBox(torch.tensor([-9.0, -9.0]), torch.tensor([9.0, 9.0]))
        >>> m = BackgroundMixture(initialize(x, 2, seed=0), box, torch.tensor(0.1))
        >>> m.predict(torch.tensor([[0.0, 8.0]]))  # of the background
        tensor([-1])
    """

    arg_constraints: dict[str, Any] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(
        self,
        mixture: GaussianMixture,
        background: torch.distributions.Distribution,
        weight: Tensor | float,
        *,
        validate_args: bool | None = None,
    ) -> None:
        is_one = isinstance(mixture, GaussianMixture)
        check(is_one, "mixture", "a GaussianMixture", type(mixture).__name__)
        self.mixture = mixture
        self.background = checked_background(background, mixture.n_features)
        self.weight = torch.as_tensor(weight).to(mixture.means)
        check_broadcast({"weight": self.weight.shape, "the batch": mixture.batch_shape})
        is_share = (self.weight >= 0) & (self.weight <= 1)
        check_values("weight", self.weight.detach(), is_share, "a number from 0 to 1")
        batch = torch.broadcast_shapes(self.weight.shape, mixture.batch_shape)
        super().__init__(batch, mixture.event_shape, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``."""
        mixture = self.mixture.expand(batch_shape)
        return type(self)(mixture, self.background, self.weight, validate_args=False)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Returns it on another device or in another dtype, as tensors' ``to`` does."""
        background = self.background
        moved = background.to(*args, **kwargs) if hasattr(background, "to") else background
        return type(self)(self.mixture.to(*args, **kwargs), moved, self.weight)

    @property
    def means(self) -> Tensor:
        """The means of the Gaussian components."""
        return self.mixture.means

    @property
    def n_parameters(self) -> int:
        """The number of free parameters of one mixture of the batch."""
        return self.mixture.n_parameters + 1

    def _log_joint(self, value: Any) -> tuple[Tensor, Tensor]:
        """The log densities of rows and the background, and of rows and any component."""
        rows = as_table("value", value).values
        background = self.weight.log() + self.background.log_prob(rows.to(self.mixture.means))
        return background, torch.log1p(-self.weight) + self.mixture.log_prob(value)

    @full_precision
    def log_prob(self, value: Any) -> Tensor:
        """Evaluates the log density of rows ``(..., D)``, broadcast with the batch."""
        return torch.logaddexp(*self._log_joint(value))

    @full_precision
    def background_probability(self, value: Any) -> Tensor:
        """Returns the posterior probability that a row is of the background, shape ``(...)``."""
        background, gaussian = self._log_joint(value)
        return (background - torch.logaddexp(background, gaussian)).exp()

    def responsibilities(self, value: Any) -> Tensor:
        """Returns each component's posterior probability given a row, and last the background's,
        shape ``(..., K + 1)``.
        """
        outside = self.background_probability(value).unsqueeze(-1)
        return torch.cat([(1 - outside) * self.mixture.responsibilities(value), outside], -1)

    def predict(self, value: Any) -> Tensor:
        """Returns the most probable component of each row; of the background, -1."""
        best = self.responsibilities(value).argmax(-1)
        return best.masked_fill(best == self.mixture.n_components, -1)

    @torch.no_grad()
    def sample_with_component(
        self, sample_shape=(), generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws rows, ``sample_shape + batch_shape + (D,)``, and the component of each, or -1.

        Args:
            sample_shape: of how many draws.
            generator: of random numbers, on the mixture's device; torch's own by default.
        """
        mixture = self.mixture.expand(self.batch_shape)
        x, component = mixture.sample_with_component(sample_shape, generator)
        uniform = torch.rand(component.shape, generator=generator, dtype=x.dtype, device=x.device)
        is_outside = uniform < self.weight
        seed = None
        if generator is not None:
            seed = int(torch.randint(2**31, (), generator=generator, device=x.device))
        with seeded(seed):
            x[is_outside] = self.background.sample((int(is_outside.sum()),)).to(x)
        return x, component.masked_fill(is_outside, -1)

    def sample(self, sample_shape=(), generator: torch.Generator | None = None) -> Tensor:
        """Draws rows of shape ``sample_shape + batch_shape + (D,)``, without gradients."""
        return self.sample_with_component(sample_shape, generator)[0]

    def __repr__(self) -> str:
        weight = f"{self.weight:.4g}" if not self.weight.dim() else f"{tuple(self.weight.shape)}"
        return f"{type(self).__name__}({self.mixture!r}, {self.background!r}, weight={weight})"


def checked_background(background: Any, n_features: int) -> torch.distributions.Distribution:
    """Takes a distribution of rows.

    Raises:
        ValueError: if it is of another number of features, has a batch, or is none.
    """
    expected = f"a distribution of event shape ({n_features},) without a batch"
    is_one = isinstance(background, torch.distributions.Distribution)
    check(is_one, "background", expected, type(background).__name__)
    shapes = tuple(background.batch_shape), tuple(background.event_shape)
    got = f"batch shape {shapes[0]} and event shape {shapes[1]}"
    check(shapes == ((), (n_features,)), "background", expected, got)
    return background
