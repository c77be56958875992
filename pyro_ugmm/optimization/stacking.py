"""Weights of predictive distributions by which their mixture predicts best."""

import math

import torch
from torch import Tensor

__all__ = ["leave_one_out_scores", "stacking_weights"]

_ITERATIONS = 2000


def leave_one_out_scores(log_likelihood: Tensor) -> Tensor:
    r"""Estimates each row's log predictive density without that row, shape ``(n,)``.

    .. math:: \log \frac{\sum_s r_{si} \, p(y_i \mid \theta_s)}{\sum_s r_{si}}, \qquad
        r_{si} = \min\bigl(p(y_i \mid \theta_s)^{-1}, \sqrt S \, \bar r_i\bigr)

    The weights are truncated (Ionides 2008), which no tail can spoil.

    Args:
        log_likelihood: of rows under draws, shape ``(S, n)``.
    """
    log_ratio, count = -log_likelihood, len(log_likelihood)
    most = log_ratio.logsumexp(0) - 0.5 * math.log(count)
    log_ratio = torch.minimum(log_ratio, most)
    return (log_ratio + log_likelihood).logsumexp(0) - log_ratio.logsumexp(0)


def stacking_weights(log_scores: Tensor) -> Tensor:
    r"""Weights a mixture's parts so that it predicts best.

    .. math:: \max_w \sum_i \log \sum_k w_k \, p_k(y_i \mid y_{-i})

    over the simplex, by EM, whose every step raises the sum. Source: Yao, Vehtari, Simpson and
    Gelman (2018), *Using stacking to average Bayesian predictive distributions*, arXiv:1704.02030;
    of several runs of one inference, Yao, Vehtari and Gelman (2022), arXiv:2006.12335.

    Args:
        log_scores: each row's log predictive density by each part, shape ``(n, K)``.

    Example:
        >>> import torch
        >>> from pyro_ugmm.optimization.stacking import stacking_weights
        >>> stacking_weights(torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]).log())
        tensor([0.7083, 0.2917])
    """
    least = torch.finfo(log_scores.dtype).min  # of all parts alike, such a row says nothing
    log_scores = log_scores.nan_to_num(nan=least, neginf=least)
    densities = (log_scores - log_scores.amax(-1, keepdim=True)).double().exp()
    weights = densities.new_full((log_scores.shape[-1],), 1 / log_scores.shape[-1])
    for _ in range(_ITERATIONS):
        shares = densities * weights
        weights = (shares / shares.sum(-1, keepdim=True)).mean(0)
    return weights.to(log_scores)
