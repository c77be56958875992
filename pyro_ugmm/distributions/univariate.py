"""The univariate Gaussian mixture, the density of one mixture neuron."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ..checks import (
    check,
    check_broadcast,
    check_precision,
    check_same_kind,
    check_values,
)
from ..tracking import is_recorded, known_to_hold
from .arguments import sample_size
from .far_values import far_log_prob, far_responsibilities
from .inverse_cdf import invert_cdf, mixture_cdf, reparameterize
from .normal import joint_log_density
from .sampling import draw_components
from .steep import is_gentle, largest_gentle
from .unavailable import NoClosedForm

__all__ = ["UnivariateGaussianMixture"]

_REACH = 40.0  # beyond so many standard deviations a CDF is zero or one


def _checked(
    loc: Tensor, scale: Tensor, logits: Tensor | None, probs: Tensor | None, check_numbers: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Checks the parameters of a mixture; returns them broadcast, the weights as logarithms."""
    got = "neither" if logits is None else "both"
    check((logits is None) != (probs is None), "logits", "exactly one of logits and probs", got)
    weight_name, weight = ("logits", logits) if probs is None else ("probs", probs)
    assert weight is not None
    named = {"loc": loc, "scale": scale, weight_name: weight}
    for name, tensor in named.items():
        check_precision(name, tensor)
        shape = tuple(tensor.shape)
        expected = "shape (..., K) with at least one component"
        check(tensor.dim() > 0 and shape[-1] > 0, name, expected, shape)
        expected = f"{loc.shape[-1]} components in the last dimension, as loc has"
        check(shape[-1] == loc.shape[-1], name, expected, f"shape {shape}")
    check_same_kind(named)
    check_broadcast({name: tensor.shape[:-1] for name, tensor in named.items()})
    loc, scale, weight = torch.broadcast_tensors(loc, scale, weight)
    is_zero = weight == (-math.inf if probs is None else 0)
    if check_numbers:
        check_values("loc", loc, loc.isfinite(), "finite values")
        check_values("scale", scale, scale.isfinite() & (scale > 0), "finite positive values")
        if probs is None:
            check_values("logits", weight, weight.isfinite() | is_zero, "finite values or -inf")
        else:
            valid = weight.isfinite() & (weight >= 0)
            check_values("probs", weight, valid, "finite non-negative values")
        expected = "at least one positive weight in each mixture"
        check(not is_zero.all(-1).any(), weight_name, expected, "a mixture with none")
    if probs is not None:
        # Categorical's own conversion raises weights below the machine epsilon to it.
        weight = torch.where(is_zero, 1, weight).log().masked_fill(is_zero, -math.inf)
    return loc, scale, weight


class UnivariateGaussianMixture(NoClosedForm, dist.MixtureSameFamily):
    r"""A mixture of :math:`K` univariate Gaussians.

    .. math:: p(y) = \sum_{k=1}^K w_k \, \mathcal{N}(y \mid \mu_k, \sigma_k^2)

    It is Pyro's ``MixtureSameFamily`` over ``Categorical`` and ``Normal``, with a CDF that is
    accurate far into its tail, its inverse, accurate in both, and pathwise gradients through
    ``rsample``. With :math:`K` inputs it is the density of one uGMM neuron (Ali 2025,
    arXiv:2509.07569).

    Args:
        loc: component means :math:`\mu`, shape ``(..., K)``.
        scale: component standard deviations :math:`\sigma > 0`, shape ``(..., K)``.
        logits: unnormalized log weights, shape ``(..., K)``; ``-inf`` is a weight of zero.
        probs: unnormalized weights, shape ``(..., K)``; exactly zero ones get gradients of zero.
            Give exactly one of the two.

    Batch dimensions broadcast; the last dimension does not. ``event_shape`` is ``()``.

    Raises:
        ValueError: if the shapes do not fit, dtypes or devices differ, a value is not finite,
            a scale is not positive, or all weights of a mixture are zero.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import UnivariateGaussianMixture
        >>> loc, scale = torch.tensor([-2.0, 1.0]), torch.tensor([0.5, 1.0])
        >>> d = UnivariateGaussianMixture(loc, scale, probs=torch.tensor([0.3, 0.7]))
        >>> d
        UnivariateGaussianMixture(batch_shape=(), n_components=2)
        >>> d.mean
        tensor(0.1000)
        >>> d.cdf(d.icdf(torch.tensor(0.25)))
        tensor(0.2500)
    """

    has_rsample = True
    support = constraints.real

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        logits: Tensor | None = None,
        probs: Tensor | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        if validate_args is None:
            validate_args = self._validate_args  # torch's default, which Pyro can turn off
        loc, scale, log_weight = _checked(loc, scale, logits, probs, bool(validate_args))
        super().__init__(
            dist.Categorical(logits=log_weight, validate_args=False),
            dist.Normal(loc, scale, validate_args=False),
            validate_args=validate_args,
        )

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``."""
        new = self._get_checked_instance(UnivariateGaussianMixture, _instance)
        return super().expand(batch_shape, _instance=new)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(batch_shape={tuple(self.batch_shape)}, "
            f"n_components={self.n_components})"
        )

    @property
    def n_components(self) -> int:
        """The number of components :math:`K`."""
        return self._num_component

    @property
    def loc(self) -> Tensor:
        r"""The component means :math:`\mu`, shape ``batch_shape + (K,)``."""
        return self.component_distribution.loc

    @property
    def scale(self) -> Tensor:
        r"""The component standard deviations :math:`\sigma`, shape ``batch_shape + (K,)``."""
        return self.component_distribution.scale

    @property
    def logits(self) -> Tensor:
        r"""The normalized log weights :math:`\log w`, shape ``batch_shape + (K,)``."""
        return self.mixture_distribution.logits

    @property
    def probs(self) -> Tensor:
        """The weights :math:`w`, shape ``batch_shape + (K,)``."""
        return self.mixture_distribution.probs

    @classmethod
    def infer_shapes(cls, loc, scale, logits=None, probs=None) -> tuple[torch.Size, torch.Size]:
        """Infers batch and event shape from the shapes of the arguments."""
        shapes = [torch.Size(s)[:-1] for s in (loc, scale, logits, probs) if s is not None]
        return torch.broadcast_shapes(*shapes), torch.Size()

    def _validate_sample(self, value: Tensor) -> None:
        check_precision("value", value)
        if value.dim() > 0:  # as in torch's arithmetic, one number takes the dtype of the others
            check_same_kind({"loc": self.loc, "value": value})
        check_broadcast({"value": value.shape, "the batch": self.batch_shape})
        check_values("value", value, ~value.isnan(), "real numbers")

    @property
    def _parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.loc, self.scale, self.logits

    def log_prob(self, value: Tensor) -> Tensor:
        """Evaluates the log density at ``value``, whose shape broadcasts with ``batch_shape``."""
        if self._validate_args:
            self._validate_sample(value)
        value = value.unsqueeze(-1)
        log_joint = joint_log_density(value, *self._parameters)
        result = log_joint.logsumexp(-1)
        return result if is_gentle(result, log_joint) else far_log_prob(value, *self._parameters)

    def responsibilities(self, value: Tensor) -> Tensor:
        r"""Returns each component's posterior probability given ``value``.

        .. math:: r_k(y) = w_k \, \mathcal{N}(y \mid \mu_k, \sigma_k^2) / p(y)

        The result has shape ``value.shape + (K,)``, broadcast with the batch. Values so far that
        all densities underflow belong to the widest component, of those to the nearest.
        """
        if self._validate_args:
            self._validate_sample(value)
        value = value.unsqueeze(-1)
        log_joint = joint_log_density(value, *self._parameters)
        if is_recorded() or not known_to_hold(log_joint > -largest_gentle(log_joint.dtype)):
            return far_responsibilities(value, *self._parameters)
        return log_joint.softmax(-1)

    def cdf(self, value: Tensor) -> Tensor:
        r"""Evaluates :math:`F(y) = \sum_k w_k \Phi((y - \mu_k) / \sigma_k)`, to full relative
        precision in the lower tail.
        """
        if self._validate_args:
            self._validate_sample(value)
        loc, reach = self.loc.detach(), _REACH * self.scale.detach()
        value = value.clamp((loc - reach).amin(-1), (loc + reach).amax(-1))
        return mixture_cdf(value, self.loc, self.scale, self.probs)

    def icdf(self, value: Tensor) -> Tensor:
        r"""Solves :math:`F(y) = q` for :math:`y`, to floating-point precision.

        Differentiable in ``value`` and in the parameters. 0 and 1 map to minus and plus infinity.

        Raises:
            ValueError: if a value lies outside [0, 1].
        """
        if self._validate_args:
            check_precision("value", value)
            valid = (value >= 0) & (value <= 1)
            check_values("value", value, valid, "probabilities in [0, 1]")
        check_broadcast({"value": value.shape, "the batch": self.batch_shape})
        root = invert_cdf(value, self.loc, self.scale, self.probs)
        return reparameterize(root, self.loc, self.scale, self.logits, value)

    @torch.no_grad()
    def sample_with_component(
        self, sample_shape=(), generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws values together with the index of the component that each came from.

        Both have shape ``sample_shape + batch_shape``; neither carries gradients.

        Args:
            sample_shape: of how many draws; sizes may be zero.
            generator: of random numbers, on the mixture's device; torch's own by default.
        """
        component = draw_components(self.probs, sample_size(sample_shape), generator)
        index = component.unsqueeze(-1)
        shape = (*index.shape[:-1], self.n_components)
        loc = self.loc.expand(shape).gather(-1, index).squeeze(-1)
        scale = self.scale.expand(shape).gather(-1, index).squeeze(-1)
        return torch.normal(loc, scale, generator=generator), component

    def sample(self, sample_shape=(), generator: torch.Generator | None = None) -> Tensor:
        """Draws values of shape ``sample_shape + batch_shape``, without gradients."""
        return self.sample_with_component(sample_shape, generator)[0]

    def rsample(self, sample_shape=(), generator: torch.Generator | None = None) -> Tensor:
        r"""Draws values with pathwise gradients with respect to loc, scale and logits or probs.

        The draw holds :math:`F(y; \theta)` fixed, so by implicit differentiation
        :math:`\mathrm{d}y / \mathrm{d}\theta = -(\partial F / \partial \theta) / p(y)`
        (Figurnov, Mohamed and Mnih 2018, arXiv:1805.08498).

        The gradients are unbiased, but those with respect to the weights have a large variance
        where components are far apart: weight moves from one to the other through the gap
        between them, where hardly a draw falls. From about eight standard deviations on, no
        practical number of draws shows it; there, sum over the components instead.
        """
        return reparameterize(
            self.sample(sample_shape, generator), self.loc, self.scale, self.logits
        )
