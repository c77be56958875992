"""The log-density of a layer of mixture neurons."""

from torch import Tensor

from ..distributions.univariate import normal_log_density

__all__ = ["layer_log_density"]


def layer_log_density(x: Tensor, loc: Tensor, scale: Tensor, log_weight: Tensor) -> Tensor:
    r"""Scores each input under its own component, for every neuron.

    .. math:: \mathrm{out}_j(x) =
        \log \sum_k w_{jk} \, \mathcal{N}(x_k \mid \mu_{jk}, \sigma_{jk}^2)

    Args:
        x: inputs, shape ``B + (K,)``.
        loc: means :math:`\mu`, shape ``P + (J, K)``.
        scale: standard deviations :math:`\sigma`, of the same shape.
        log_weight: :math:`\log w`, of the same shape. A log weight of ``-inf`` leaves its input
            out, in the value and in the gradients.

    Returns:
        Scores of shape ``broadcast(P, B) + (J,)``.
    """
    return (log_weight + normal_log_density(x.unsqueeze(-2), loc, scale)).logsumexp(-1)
