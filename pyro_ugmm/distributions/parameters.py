"""The multivariate Gaussian mixture as Pyro's distribution: its parameters and its batch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ..kept import Kept
from ..missing_values import mixture_rule
from .arguments import check_expansion, check_numbers, check_shapes
from .components import Components
from .covariance import STRUCTURES, Covariance
from .row_support import support_of_rows

__all__ = ["MixtureParameters"]


class MixtureParameters(dist.TorchDistribution):
    """A distribution over rows with the parameters of a Gaussian mixture; it is not evaluated
    here.

    Args:
        weights: non-negative, sums of one, shape ``(..., K)``.
        means: shape ``(..., K, D)``.
        covariance: of the components.
        missing: what a NaN in a value means: an ``"error"``, or an entry to ``"marginalize"``.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = False

    def __init__(
        self,
        weights: Tensor,
        means: Tensor,
        covariance: Covariance,
        *,
        missing: str = "error",
        validate_args: bool | None = None,
    ) -> None:
        mixture_rule(missing)
        check_shapes(weights, means, covariance)
        self._components, self.missing = Components(weights, means, covariance), missing
        self._kept = Kept()
        batch_shape = self._components.batch_shape
        super().__init__(batch_shape, means.shape[-1:], validate_args=validate_args)
        if self._validate_args:
            check_numbers(weights, means)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self):
        """Real vectors, with NaN for missing entries where these are marginalized."""
        return support_of_rows(self.missing)

    def __repr__(self) -> str:
        missing = mixture_rule(self.missing).shown
        return (
            f"{type(self).__name__}(batch_shape={tuple(self.batch_shape)}, "
            f"n_components={self.n_components}, n_features={self.n_features}, "
            f"covariance={self.covariance.name!r}{missing})"
        )

    @classmethod
    def infer_shapes(cls, weights, means, covariance=()) -> tuple[torch.Size, torch.Size]:
        """Infers batch and event shape from those of the arguments.

        Args:
            weights: a shape ``(..., K)``.
            means: a shape ``(..., K, D)``.
            covariance: a :class:`Covariance`, or the shape of matrices ``(..., K, D, D)``.
        """
        is_covariance = isinstance(covariance, Covariance)
        batch = covariance.batch_shape if is_covariance else torch.Size(covariance)[:-3]
        shapes = torch.Size(weights)[:-1], torch.Size(means)[:-2], batch
        return torch.broadcast_shapes(*shapes), torch.Size(means)[-1:]

    @property
    def n_components(self) -> int:
        """The number of components :math:`K`."""
        return self._components.means.shape[-2]

    @property
    def n_features(self) -> int:
        """The number of dimensions :math:`D`."""
        return self._components.means.shape[-1]

    @property
    def weights(self) -> Tensor:
        """The weights :math:`w`, shape ``batch_shape + (K,)``."""
        return self._components.weights.expand(*self.batch_shape, -1)

    @property
    def log_weights(self) -> Tensor:
        r"""The logarithms of the weights, shape ``batch_shape + (K,)``; also of those that, as
        numbers, underflow in a conditional mixture.
        """
        return self._components.log_weights.expand(*self.batch_shape, -1)

    @property
    def means(self) -> Tensor:
        r"""The components' means :math:`\mu`, shape ``batch_shape + (K, D)``."""
        return self._components.means.expand(*self.batch_shape, -1, -1)

    @property
    def covariance(self) -> Covariance:
        r"""The components' covariances :math:`\Sigma`, whose batch may be smaller."""
        return self._components.covariance

    # -- batches ----------------------------------------------------------------------------

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``, without copying the parameters."""
        new = self._get_checked_instance(type(self), _instance)
        new.__dict__.update(self.__dict__)
        shape = torch.Size(batch_shape)
        check_expansion(self.batch_shape, shape)
        dist.TorchDistribution.__init__(new, shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Returns the mixture on another device or in another dtype, as tensors' ``to`` does."""
        return self._broadcast(self._components.to(*args, **kwargs))

    def as_wide_as(self, dtype: torch.dtype) -> Self:
        """Returns the mixture in the wider of its own dtype and another."""
        own = self._components.means.dtype
        wide = torch.promote_types(dtype, own)
        return self if wide == own else self.to(wide)

    def reindex(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Returns the mixture whose tensors are ``function`` of this one's.

        Args:
            function: which may only touch the batch's dimensions. All tensors have them all.
        """
        return self._like(self._components.expand(self.batch_shape).reindex(function))

    def with_covariance(self, covariance: Covariance, missing: str) -> Self:
        """Returns the mixture with other covariances, whose values are not checked."""
        components = replace(self._components, covariance=covariance)
        return self._of(components, missing=missing, validate_args=False)

    def with_parameters(self, weights: Tensor, means: Tensor, covariance: Covariance) -> Self:
        """Returns the mixture with other parameters, whose values are not checked."""
        return self._like(Components(weights, means, covariance))

    @classmethod
    def stack(cls, mixtures: Sequence[Self]) -> Self:
        """Returns a batch of mixtures of one batch shape, along a new first dimension."""
        parts = [mixture._components.expand(mixture.batch_shape) for mixture in mixtures]
        return mixtures[0]._like(Components.stack(parts))

    def tensors(self, *, computed: bool = False) -> dict[str, Tensor]:
        """Returns all parameters by name, for :meth:`from_tensors`.

        Args:
            computed: whether to add what was computed from them, so that nothing is computed anew.
        """
        return self._whole.tensors(computed=computed)

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], structure: str, *, missing: str = "error"
    ) -> Self:
        """Returns the mixture of which :meth:`tensors` gave the parameters.

        Args:
            tensors: the parameters by name.
            structure: the name of its covariance's structure.
            missing: as of the mixture.
        """
        components = Components.from_tensors(tensors, STRUCTURES[structure])
        return cls._of(components, missing=missing, validate_args=False)

    @property
    def _whole(self) -> Components:
        """The parameters, the weights with the whole batch."""
        parts, logarithms = self._components, self._components.given_log_weights
        if logarithms is not None:
            logarithms = logarithms.expand(self.weights.shape)
        return replace(parts, weights=self.weights, given_log_weights=logarithms)

    @classmethod
    def _of(cls, components: Components, **options: Any) -> Self:
        mixture = cls(components.weights, components.means, components.covariance, **options)
        mixture._components = components
        return mixture

    def _like(self, components: Components) -> Self:
        other = self._of(components, missing=self.missing, validate_args=False)
        other._validate_args = self._validate_args
        return other

    def _broadcast(self, components: Components) -> Self:
        """A mixture whose batch is also that of this one."""
        other = self._like(components)
        batch = torch.broadcast_shapes(other.batch_shape, self.batch_shape)
        return other if batch == other.batch_shape else other.expand(batch)
