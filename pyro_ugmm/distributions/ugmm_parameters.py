"""A mixture over products of mixture neurons as Pyro's distribution: its parameters and batch."""

import math
from collections.abc import Callable
from typing import Any, Self

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ..checks import check, check_broadcast, check_precision, check_same_kind
from ..missing_values import mixture_rule
from .arguments import check_expansion, check_weights
from .row_support import support_of_rows
from .univariate import UnivariateGaussianMixture

__all__ = ["UGMMParameters", "mapped_nodes"]


def mapped_nodes(
    nodes: UnivariateGaussianMixture, function: Callable[[Tensor], Tensor]
) -> UnivariateGaussianMixture:
    """Returns the nodes whose parameters are ``function`` of these, and checks no values."""
    loc, scale, logits = map(function, (nodes.loc, nodes.scale, nodes.logits))
    return UnivariateGaussianMixture(loc, scale, logits=logits, validate_args=False)


def _check_shapes(weights: Tensor, nodes: UnivariateGaussianMixture) -> None:
    check_precision("weights", weights)
    is_mixture = isinstance(nodes, UnivariateGaussianMixture)
    check(is_mixture, "nodes", "a UnivariateGaussianMixture", type(nodes).__name__)
    shape = tuple(nodes.batch_shape)
    expected = "a batch of shape (..., C, D)"
    check(len(shape) > 1 and 0 not in shape, "nodes", expected, f"batch shape {shape}")
    check(weights.dim() > 0, "weights", "shape (..., C)", tuple(weights.shape))
    expected, got = f"{shape[-2]} components, as nodes has", f"shape {tuple(weights.shape)}"
    check(weights.shape[-1] == shape[-2], "weights", expected, got)
    check_same_kind({"nodes": nodes.loc, "weights": weights})
    check_broadcast({"weights": weights.shape[:-1], "nodes": shape[:-2]})


class UGMMParameters(dist.TorchDistribution):
    """A distribution over rows with the parameters of a mixture over products of nodes; it is not
    evaluated here.

    Args:
        weights: non-negative, sums of one, shape ``(..., C)``.
        nodes: univariate mixtures of batch shape ``(..., C, D)``.
        missing: what a NaN in a value means: an ``"error"``, or an entry to ``"marginalize"``.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = False

    def __init__(
        self,
        weights: Tensor,
        nodes: UnivariateGaussianMixture,
        *,
        missing: str = "error",
        validate_args: bool | None = None,
    ) -> None:
        mixture_rule(missing)
        _check_shapes(weights, nodes)
        self._nodes, self.missing = mapped_nodes(nodes, lambda t: t), missing
        is_zero = weights == 0
        logarithms = torch.where(is_zero, 1, weights).log().masked_fill(is_zero, -math.inf)
        self._weights, self._log_weights = weights, logarithms
        batch_shape = torch.broadcast_shapes(weights.shape[:-1], nodes.batch_shape[:-2])
        super().__init__(batch_shape, nodes.batch_shape[-1:], validate_args=validate_args)
        if self._validate_args:
            check_weights(weights)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self):
        """Real vectors, with NaN for missing entries where these are marginalized."""
        return support_of_rows(self.missing)

    @property
    def n_components(self) -> int:
        """The number of products :math:`C`."""
        return self._nodes.batch_shape[-2]

    @property
    def n_features(self) -> int:
        """The number of dimensions :math:`D`."""
        return self._nodes.batch_shape[-1]

    @property
    def n_node_components(self) -> int:
        """The number of Gaussians of each node, :math:`M`."""
        return self._nodes.n_components

    @property
    def weights(self) -> Tensor:
        r"""The weights :math:`\pi`, shape ``batch_shape + (C,)``."""
        return self._weights.expand(*self.batch_shape, -1)

    @property
    def log_weights(self) -> Tensor:
        r"""The logarithms of the weights, shape ``batch_shape + (C,)``; also of those that, as
        numbers, underflow in a conditional mixture.
        """
        return self._log_weights.expand(*self.batch_shape, -1)

    @property
    def nodes(self) -> UnivariateGaussianMixture:
        """The univariate mixtures, a batch of shape ``batch_shape + (C, D)``."""
        shape = self.batch_shape + self._nodes.batch_shape[-2:]
        return self._nodes if shape == self._nodes.batch_shape else self._nodes.expand(shape)

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
        return self.reindex(lambda t: t.to(*args, **kwargs))

    def as_wide_as(self, dtype: torch.dtype) -> Self:
        """Returns the mixture in the wider of its own dtype and another."""
        own = self._nodes.loc.dtype
        wide = torch.promote_types(dtype, own)
        return self if wide == own else self.to(wide)

    def reindex(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Returns the mixture whose tensors are ``function`` of this one's.

        Args:
            function: which may only touch the batch's dimensions. All tensors have them all.
        """
        nodes = mapped_nodes(self.nodes, function)
        return self._like(function(self.weights), function(self.log_weights), nodes)

    def _like(self, weights: Tensor, log_weights: Tensor, nodes: UnivariateGaussianMixture) -> Self:
        """A mixture of other parameters, whose values are not checked."""
        new = type(self)(weights, nodes, missing=self.missing, validate_args=False)
        new._log_weights, new._validate_args = log_weights, self._validate_args
        return new

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(batch_shape={tuple(self.batch_shape)}, "
            f"n_components={self.n_components}, n_features={self.n_features}, "
            f"n_node_components={self.n_node_components}{mixture_rule(self.missing).shown})"
        )
