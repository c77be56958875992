"""How near the components of one Gaussian mixture are to those of another, pair by pair."""

import math

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from ..checks import check, check_broadcast, check_same_kind
from ..precision import full_precision
from .multivariate import GaussianMixture

__all__ = ["check_mixtures", "log_overlaps", "log_products", "pairwise_kl"]


def check_mixtures(**mixtures: GaussianMixture) -> None:
    """Checks that arguments are mixtures of the same features, dtype and device."""
    for name, mixture in mixtures.items():
        is_mixture = isinstance(mixture, GaussianMixture)
        check(is_mixture, name, "a GaussianMixture", type(mixture).__name__)
    first, *others = mixtures
    for name in others:
        n_features, got = mixtures[first].n_features, mixtures[name].n_features
        check(n_features == got, name, f"{n_features} features, as {first} has", got)
    check_same_kind({name: mixture.means for name, mixture in mixtures.items()})
    check_broadcast({name: mixture.batch_shape for name, mixture in mixtures.items()})


def _normals(means: Tensor, matrices: Tensor) -> MultivariateNormal:
    factors = torch.linalg.cholesky(matrices)
    return MultivariateNormal(means, scale_tril=factors, validate_args=False)


def _matrices(mixture: GaussianMixture) -> Tensor:
    return mixture.covariance.dense(mixture.n_components, mixture.n_features)


def _in_rows(p: GaussianMixture) -> MultivariateNormal:
    return _normals(p.means.unsqueeze(-2), _matrices(p).unsqueeze(-3))


def _in_columns(q: GaussianMixture) -> MultivariateNormal:
    return _normals(q.means.unsqueeze(-3), _matrices(q).unsqueeze(-4))


def _convolved(p: GaussianMixture, q: GaussianMixture) -> MultivariateNormal:
    matrices = _matrices(p).unsqueeze(-3) + _matrices(q).unsqueeze(-4)
    return _normals(q.means.unsqueeze(-3), matrices)


@full_precision
def pairwise_kl(p: GaussianMixture, q: GaussianMixture) -> Tensor:
    """The divergences of p's components from q's, shape ``(..., K_p, K_q)``."""
    return kl_divergence(_in_rows(p), _in_columns(q))


@full_precision
def log_products(p: GaussianMixture, q: GaussianMixture) -> Tensor:
    r"""Evaluates :math:`\log \int p_a q_b`, shape ``(..., K_p, K_q)``."""
    return _convolved(p, q).log_prob(p.means.unsqueeze(-2))


@full_precision
def log_overlaps(p: GaussianMixture, q: GaussianMixture) -> Tensor:
    r"""Evaluates Bhattacharyya's :math:`\log \int \sqrt{p_a q_b}`, shape ``(..., K_p, K_q)``."""
    convolved = _convolved(p, q)
    entropies = 0.5 * (_in_rows(p).entropy() + _in_columns(q).entropy()) - convolved.entropy()
    at_means = convolved.log_prob(p.means.unsqueeze(-2)) - convolved.log_prob(convolved.loc)
    return entropies + 0.5 * (at_means + p.n_features * math.log(2))
