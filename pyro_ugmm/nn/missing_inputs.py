"""Missing inputs: left out of the mixture as dropped components are, the rest renormalized."""

import math

import torch
from torch import Tensor

from ..checks import check_values
from .kernels import layer_log_density

__all__ = ["check_observed", "leaves_nothing", "score_observed"]


def check_observed(x: Tensor) -> None:
    """Checks that something of every row ``(..., K)`` is not NaN."""
    seen = x.isnan().logical_not().any(-1)
    check_values("x", torch.where(seen, 0.0, torch.nan), seen, "rows with an input that is not NaN")


def _log_observed_weight(x: Tensor, log_weight: Tensor) -> Tensor:
    """The log of the weight of what is observed of rows, by the layer's own kernel.

    Where all observed inputs are at the means, and densities there are one, scores are weights.
    """
    at_means = torch.where(x.isnan(), x, 0.0)
    loc, scale = torch.zeros_like(log_weight), torch.ones_like(log_weight)
    return layer_log_density(at_means, loc, scale / math.sqrt(2 * math.pi), log_weight, omit=True)


def score_observed(x: Tensor, loc: Tensor, scale: Tensor, log_weight: Tensor) -> Tensor:
    r"""Scores inputs of which some are NaN.

    .. math:: \mathrm{out}_j(x) = \log \frac{
        \sum_{k \text{ observed}} w_{jk} \, \mathcal{N}(x_k \mid \mu_{jk}, \sigma_{jk}^2)}{
        \sum_{k \text{ observed}} w_{jk}}

    Shapes are those of :func:`pyro_ugmm.nn.kernels.layer_log_density`.
    """
    scores = layer_log_density(x, loc, scale, log_weight, omit=True)
    return scores - _log_observed_weight(x, log_weight)


@torch.no_grad()
def leaves_nothing(x: Tensor, logits: Tensor) -> Tensor:
    """Says which neurons have no weight for what is observed of a row of ``x``.

    Of logits ``P + (J, K)`` it is ``P + (J, 1)``.
    """
    nothing = _log_observed_weight(x, logits.log_softmax(-1)) == -math.inf
    return nothing.int().sum_to_size(logits.shape[:-1]).bool().unsqueeze(-1)
