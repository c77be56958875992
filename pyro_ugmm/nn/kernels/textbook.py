"""The layer's log-density as it is written in a book: the oracle of the other backends."""

from torch import Tensor

from ...distributions.normal import normal_log_density

__all__ = ["textbook"]


def textbook(
    x: Tensor, loc: Tensor, scale: Tensor, log_weight: Tensor, *, omit: bool = False
) -> Tensor:
    """Evaluates all (row, neuron, input) at once, differentiable by autograd as often as wanted.

    See :func:`pyro_ugmm.nn.kernels.layer_log_density`; leading dimensions broadcast.
    """
    x = x.unsqueeze(-2)
    if omit:
        missing = x.isnan()
        x = x.masked_fill(missing, 0.0)
        log_weight = log_weight.masked_fill(missing, -float("inf"))
    return (log_weight + normal_log_density(x, loc, scale)).logsumexp(-1)
