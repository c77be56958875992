"""The evidence from draws of the posterior, by bridge sampling."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pyro_ugmm.distributions import GaussianMixture

__all__ = ["bridge"]

_MOST_ROUNDS, _TOLERANCE = 1000, 1e-10


def bridge(
    log_density: Callable[[Tensor], Tensor],
    draws: Tensor,
    proposal: GaussianMixture,
    ess: float,
) -> tuple[float, float]:
    r"""Estimates :math:`\log Z` of an unnormalized density, and the standard error of that.

    .. math:: Z = \mathrm{E}_g[h p] / \mathrm{E}_\pi[h g], \qquad
        h \propto (s_1 p / Z + s_2 g)^{-1}

    for draws of :math:`\pi = p / Z` and of a proposal :math:`g`, the best of all bridges
    :math:`h`, found by iteration.

    Args:
        log_density: :math:`\log p` of positions ``(S, n)``, shape ``(S,)``.
        draws: of :math:`\pi`, shape ``(S, n)``; the proposal knows nothing of them.
        proposal: :math:`g`.
        ess: how many independent draws they are worth.

    Source: Meng and Wong (1996), *Simulating ratios of normalizing constants via a simple
    identity*; the error of Frühwirth-Schnatter (2004), *Estimating marginal likelihoods for
    mixture and Markov switching models using bridge sampling techniques*.
    """
    proposed = proposal.sample((len(draws),))
    at_draws, at_proposed = (log_density(u) - proposal.log_prob(u) for u in (draws, proposed))
    at_proposed = at_proposed.nan_to_num(nan=-torch.inf)
    share = ess / (ess + len(proposed))
    log_shares = math.log(share), math.log1p(-share)
    log_z = float(at_draws.median())
    for _ in range(_MOST_ROUNDS):
        before = log_z
        above = _log_bridge(at_proposed, log_z, log_shares) + at_proposed
        below = _log_bridge(at_draws, log_z, log_shares)
        log_z = float(_log_mean(above) - _log_mean(below))
        if abs(log_z - before) < _TOLERANCE:
            break
    variance = _relative_variance(above) / len(above) + _relative_variance(below) / ess
    return log_z, math.sqrt(variance)


def _log_bridge(log_ratio: Tensor, log_z: float, log_shares: tuple[float, float]) -> Tensor:
    r"""Evaluates :math:`\log h g` where :math:`\log p / g` is known."""
    of_posterior, of_proposal = log_shares
    return -torch.logaddexp(of_posterior + log_ratio - log_z, torch.tensor(of_proposal))


def _log_mean(log_values: Tensor) -> Tensor:
    return log_values.logsumexp(0) - math.log(len(log_values))


def _relative_variance(log_values: Tensor) -> float:
    values = (log_values - log_values.max()).exp()
    return float(values.var() / values.mean() ** 2)
