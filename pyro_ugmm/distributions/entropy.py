"""Bounds on the entropy of a Gaussian mixture, and on its cross-entropy with another."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from .multivariate import GaussianMixture
from .pairs import check_mixtures, log_overlaps, log_products, pairwise_kl

__all__ = ["Bounds", "cross_entropy_bounds", "entropy_bounds"]


class Bounds(NamedTuple):
    """What a quantity lies between, in nats.

    Attributes:
        lower: at least this.
        upper: at most this.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import Bounds
        >>> bounds = Bounds(lower=torch.tensor(1.0), upper=torch.tensor(1.5))
        >>> bounds.upper - bounds.lower
        tensor(0.5000)
    """

    lower: Tensor
    upper: Tensor


def _component_entropies(mixture: GaussianMixture) -> Tensor:
    n_features = mixture.n_features
    constant = n_features * (1 + math.log(2 * math.pi))
    return 0.5 * (mixture.covariance.log_determinant(n_features) + constant)


def _mixed(weights: Tensor, log_weights: Tensor, log_pairs: Tensor) -> Tensor:
    r"""Evaluates :math:`-\sum_a \pi_a \log \sum_b \omega_b e_{ab}`."""
    return -(weights * (log_weights.unsqueeze(-2) + log_pairs).logsumexp(-1)).sum(-1)


def cross_entropy_bounds(p: GaussianMixture, q: GaussianMixture) -> Bounds:
    r"""Bounds :math:`-\mathbb{E}_p[\log q]`, with weights :math:`\pi` of p and :math:`\omega` of q.

    .. math:: -\sum_a \pi_a \log \sum_b \omega_b \int p_a q_b \;\le\; -\mathbb{E}_p[\log q] \;\le\;
        \sum_a \pi_a \left[ H(p_a) - \log \sum_b \omega_b e^{-\mathrm{KL}(p_a \| q_b)} \right]
    """
    within = (p.weights * _component_entropies(p)).sum(-1)
    lower = _mixed(p.weights, q.log_weights, log_products(p, q))
    return Bounds(lower, within + _mixed(p.weights, q.log_weights, -pairwise_kl(p, q)))


def entropy_bounds(mixture: GaussianMixture) -> Bounds:
    r"""Bounds the entropy of a mixture, in closed form.

    .. math:: \sum_i w_i \left[ H(p_i) - \log \sum_j w_j \int \sqrt{p_i p_j} \right]
        \;\le\; H(p) \;\le\;
        \sum_i w_i \left[ H(p_i) - \log \sum_j w_j e^{-\mathrm{KL}(p_i \| p_j)} \right]

    (Kolchinsky and Tracey 2017, arXiv:1706.02419), which meet where components are far apart or the
    same. Where components overlap others are tighter, and taken: below,
    :math:`-\sum_i w_i \log \sum_j w_j \, \mathcal{N}(\mu_i \mid \mu_j, \Sigma_i + \Sigma_j)`
    (Huber and others 2008, *On entropy approximation for Gaussian mixture random vectors*); above,
    the entropy of the Gaussian of the same covariance. The upper bound is never above that of Huber
    and others, :math:`\sum_i w_i [H(p_i) - \log w_i]`.

    Args:
        mixture: one, or a batch.

    Returns:
        ``lower`` and ``upper``, in nats, each of shape ``batch_shape``; they are differentiable.

    Raises:
        ValueError: if it is no :class:`GaussianMixture`.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import GaussianMixture, SphericalCovariance, entropy_bounds
        >>> means = torch.tensor([[-2.0, 0.0], [2.0, 0.0]])
        >>> m = GaussianMixture(torch.ones(2) / 2, means, SphericalCovariance(torch.ones(2)))
        >>> lower, upper = entropy_bounds(m)
        >>> print(f"{lower:.2f} {upper:.2f}")
        3.40 3.53
    """
    check_mixtures(mixture=mixture)
    weights, log_weights = mixture.weights, mixture.log_weights
    lower, upper = cross_entropy_bounds(mixture, mixture)
    within = (weights * _component_entropies(mixture)).sum(-1)
    by_overlap = within + _mixed(weights, log_weights, log_overlaps(mixture, mixture))
    gaussian = MultivariateNormal(mixture.mean, mixture.covariance_matrix, validate_args=False)
    return Bounds(torch.maximum(lower, by_overlap), torch.minimum(upper, gaussian.entropy()))
