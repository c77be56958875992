"""Mixture neurons as densities of all their inputs, by a reference density."""

import torch
from torch import Tensor

from ..checks import check, check_broadcast, check_same_kind
from .ugmm_mixture import UGMMMixture
from .univariate import UnivariateGaussianMixture

__all__ = ["normalized_neurons"]


def normalized_neurons(
    neurons: UnivariateGaussianMixture, reference: UnivariateGaussianMixture
) -> UGMMMixture:
    r"""Returns the densities that neurons have beside a reference density of their inputs.

    .. math:: p(x) = b(x) \sum_{k=1}^D w_k \,
        \frac{\mathcal{N}(x_k \mid \mu_k, \sigma_k^2)}{b_k(x_k)}
        = \sum_{k=1}^D w_k \, \mathcal{N}(x_k \mid \mu_k, \sigma_k^2) \prod_{d \ne k} b_d(x_d),
        \qquad b(x) = \prod_{d=1}^D b_d(x_d)

    Component :math:`k` of a neuron takes the place of input :math:`k` of the reference, so this is
    normalized, where the neuron's score :math:`\sum_k w_k \, \mathcal{N}(x_k)` has no finite
    integral. It is a :class:`UGMMMixture` with :math:`C = D`.

    Args:
        neurons: a batch ``(...)`` of neurons with one component per input, such as
            :attr:`UGMMLayer.nodes <pyro_ugmm.nn.UGMMLayer.nodes>`.
        reference: the densities :math:`b_d` of the inputs, a batch ``(..., D)``.

    Returns:
        Mixtures whose batch is that of the neurons, broadcast with the reference's.

    Raises:
        ValueError: if the reference is of another number of inputs, or shapes, dtypes or devices
            do not fit.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import UnivariateGaussianMixture, normalized_neurons
        >>> from pyro_ugmm.nn import UGMMLayer
        >>> loc, scale = torch.zeros(4, 1), torch.ones(4, 1)  # standardized inputs
        >>> reference = UnivariateGaussianMixture(loc, scale, probs=torch.ones(4, 1))
        >>> normalized_neurons(UGMMLayer(4, 3).nodes, reference)
        UGMMMixture(batch_shape=(3,), n_components=4, n_features=4, n_node_components=1)
    """
    for name, given in (("neurons", neurons), ("reference", reference)):
        is_one = isinstance(given, UnivariateGaussianMixture)
        check(is_one, name, "a UnivariateGaussianMixture", type(given).__name__)
    n_inputs, shape = neurons.n_components, tuple(reference.batch_shape)
    expected = f"a batch of shape (..., {n_inputs}), as neurons has components"
    check(shape[-1:] == (n_inputs,), "reference", expected, f"batch shape {shape}")
    check_same_kind({"neurons": neurons.loc, "reference": reference.loc})
    check_broadcast({"neurons": neurons.batch_shape, "reference": shape[:-1]})
    batch = torch.broadcast_shapes(neurons.batch_shape, shape[:-1])
    is_own = torch.eye(n_inputs, dtype=torch.bool, device=neurons.loc.device).unsqueeze(-1)

    def joined(own: Tensor, other: Tensor) -> Tensor:
        """Parameters ``(..., D, D, M)``: a neuron's on the diagonal, the reference's elsewhere."""
        other = other.expand(*batch, *other.shape[-2:]).unsqueeze(-3)
        return torch.where(is_own, own, other)

    def each(parameter: Tensor) -> Tensor:
        return parameter.expand(*batch, n_inputs)[..., None, None]

    one = reference.logits.new_full((reference.n_components,), -torch.inf)
    one[0] = 0.0
    nodes = UnivariateGaussianMixture(
        joined(each(neurons.loc), reference.loc),
        joined(each(neurons.scale), reference.scale),
        logits=joined(one, reference.logits),
        validate_args=False,
    )
    return UGMMMixture(neurons.probs.expand(*batch, -1), nodes)
