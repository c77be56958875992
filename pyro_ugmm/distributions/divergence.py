"""The Kullback-Leibler divergence between Gaussian mixtures: bounds, and estimates."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, register_kl

from ..checks import check, check_integer, check_seed
from ..randomness import generator_for
from .entropy import Bounds, cross_entropy_bounds, entropy_bounds
from .multivariate import GaussianMixture
from .pairs import check_mixtures, pairwise_kl
from .sampling import draw_rows

__all__ = ["MonteCarloEstimate", "kl_bounds", "kl_monte_carlo", "kl_variational"]

_ITERATIONS = 20
_LEAST_LOG_WEIGHT = -1e4  # of a component of none, without minus infinity in differences


class MonteCarloEstimate(NamedTuple):
    """A mean over draws, and its standard error, which carries no gradients.

    Attributes:
        value: the mean.
        standard_error: of it.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import MonteCarloEstimate
        >>> MonteCarloEstimate(torch.tensor(0.7), torch.tensor(0.1)).value
        tensor(0.7000)
    """

    value: Tensor
    standard_error: Tensor


def kl_variational(p: GaussianMixture, q: GaussianMixture) -> Tensor:
    r"""Approximates the divergence of p from q in closed form.

    .. math:: \mathrm{KL}(p \| q) \approx \sum_a \pi_a \log
        \frac{\sum_{a'} \pi_{a'} e^{-\mathrm{KL}(p_a \| p_{a'})}}
        {\sum_b \omega_b e^{-\mathrm{KL}(p_a \| q_b)}}

    The variational approximation of Hershey and Olsen (2007, *Approximating the Kullback Leibler
    divergence between Gaussian mixture models*): zero for equal mixtures, exact for single
    components; it is no bound, and can be negative.

    Args:
        p: a mixture, or a batch.
        q: another of as many features; batches broadcast.

    Returns:
        The approximation in nats, of the batches' shape; it is differentiable.

    Raises:
        ValueError: if they are no Gaussian mixtures, or do not fit.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import GaussianMixture, SphericalCovariance, kl_variational
        >>> covariance = SphericalCovariance(torch.ones(2))
        >>> means = torch.tensor([[-3.0], [3.0]])
        >>> p = GaussianMixture(torch.tensor([0.5, 0.5]), means, covariance)
        >>> q = GaussianMixture(torch.tensor([0.5, 0.5]), means + 1.0, covariance)
        >>> kl_variational(p, q)
        tensor(0.5000)
    """
    check_mixtures(p=p, q=q)
    return cross_entropy_bounds(p, q).upper - cross_entropy_bounds(p, p).upper


def kl_bounds(p: GaussianMixture, q: GaussianMixture) -> Bounds:
    r"""Bounds the divergence of p from q, in closed form.

    With bounds of :math:`-\mathbb{E}_p[\log q]` and of the entropy :math:`H(p)`, whose difference
    the divergence is, the lower bound is the lower one less the upper one, or zero; the upper
    bound is the upper one less the lower one, or, if that is less, the variational upper bound of
    Hershey and Olsen (2007, *Approximating the Kullback Leibler divergence between Gaussian
    mixture models*): of all ways :math:`\sum_b \varphi_{ab} = \pi_a`,
    :math:`\sum_a \psi_{ab} = \omega_b` to split the components up, nearly the best of

    .. math:: \mathrm{KL}(p \| q) \le \sum_{ab} \varphi_{ab} \left[
        \log \frac{\varphi_{ab}}{\psi_{ab}} + \mathrm{KL}(p_a \| q_b) \right]

    Args:
        p: a mixture, or a batch.
        q: another of as many features; batches broadcast.

    Returns:
        The bounds in nats, ``lower`` and ``upper``, of the batches' shape; they are differentiable.

    Raises:
        ValueError: if they are no Gaussian mixtures, or do not fit.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import GaussianMixture, SphericalCovariance, kl_bounds
        >>> covariance = SphericalCovariance(torch.ones(2))
        >>> means = torch.tensor([[-3.0], [3.0]])
        >>> p = GaussianMixture(torch.tensor([0.5, 0.5]), means, covariance)
        >>> q = GaussianMixture(torch.tensor([0.5, 0.5]), means + 1.0, covariance)
        >>> kl_bounds(p, q)
        Bounds(lower=tensor(0.0953), upper=tensor(0.5000))
    """
    check_mixtures(p=p, q=q)
    crossed, entropy = cross_entropy_bounds(p, q), entropy_bounds(p)
    upper = torch.minimum(crossed.upper - entropy.lower, _variational_upper_bound(p, q))
    return Bounds((crossed.lower - entropy.upper).clamp(min=0), upper)


def _variational_upper_bound(p: GaussianMixture, q: GaussianMixture) -> Tensor:
    divergences = pairwise_kl(p, q)
    log_p, log_q = (m.log_weights.clamp(min=_LEAST_LOG_WEIGHT) for m in (p, q))
    log_p, log_q = log_p.unsqueeze(-1), log_q.unsqueeze(-2)
    log_psi = log_p + log_q
    for _ in range(_ITERATIONS):
        log_phi = log_p + (log_psi - divergences).log_softmax(-1)
        log_psi = log_q + log_phi.log_softmax(-2)
    return (log_phi.exp() * (log_phi - log_psi + divergences)).sum((-2, -1))


def kl_monte_carlo(
    p: GaussianMixture, q: Distribution, num_samples: int = 1000, seed: int | None = None
) -> MonteCarloEstimate:
    r"""Estimates the divergence of p from q by draws of each component.

    .. math:: \mathrm{KL}(p \| q) = \sum_a \pi_a \, \mathbb{E}_{x \sim p_a}
        \left[\log p(x) - \log q(x)\right]

    The sum over the components is exact, so that the gradients with respect to the weights are
    right however far these are apart; draws carry gradients to means and covariances.

    Args:
        p: a mixture, or a batch.
        q: a distribution of such rows; batches broadcast.
        num_samples: how many draws of each component, at least two.
        seed: of the draws; torch's generator is used, and left alone if given.

    Returns:
        The estimate in nats as ``value``, and its ``standard_error``, of the batches' shape.

    Raises:
        ValueError: if p is no :class:`GaussianMixture`, or q's rows have another size.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import GaussianMixture, SphericalCovariance, kl_monte_carlo
        >>> covariance = SphericalCovariance(torch.ones(2))
        >>> means = torch.tensor([[-3.0], [3.0]])
        >>> p = GaussianMixture(torch.tensor([0.5, 0.5]), means, covariance)
        >>> q = GaussianMixture(torch.tensor([0.5, 0.5]), means + 1.0, covariance)
        >>> value, error = kl_monte_carlo(p, q, num_samples=10_000, seed=0)
        >>> print(f"{value:.2f} {error:.3f}")
        0.48 0.007
    """
    check_mixtures(p=p)
    fits = isinstance(q, Distribution) and q.event_shape == p.event_shape
    expected, got = f"a distribution of event_shape {tuple(p.event_shape)}", q
    check(fits, "q", expected, got)
    check_integer("num_samples", num_samples, minimum=2)
    generator = generator_for(check_seed("seed", seed), p.means.device)
    shape = num_samples, p.n_components, *p.batch_shape
    component = torch.arange(p.n_components, device=p.means.device)
    component = component.reshape(-1, *(1,) * len(p.batch_shape)).expand(shape)
    x = draw_rows(p.means, p.covariance, component, generator)
    log_ratio = (p.log_prob(x) - q.log_prob(x)).movedim(1, -1)
    variance = log_ratio.detach().var(0) / num_samples
    error = (p.weights.detach().square() * variance).sum(-1).sqrt()
    return MonteCarloEstimate((p.weights * log_ratio.mean(0)).sum(-1), error)


@register_kl(GaussianMixture, GaussianMixture)
def _kl_between_mixtures(p: GaussianMixture, q: GaussianMixture) -> Tensor:
    """The divergence of single components, exactly, or else an estimate of 1,000 draws of each."""
    if p.n_components == q.n_components == 1:
        return pairwise_kl(p, q)[..., 0, 0]
    return kl_monte_carlo(p, q).value
