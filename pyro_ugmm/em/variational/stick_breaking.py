"""The distribution of what independent shares leave of a stick."""

import torch
from pyro.distributions import Beta, TorchDistribution
from torch import Tensor
from torch.distributions import constraints

__all__ = ["GeneralizedDirichlet"]


class GeneralizedDirichlet(TorchDistribution):
    r"""Weights :math:`w_k = v_k \prod_{j<k} (1 - v_j)`, of which the last is all that is left.

    .. math:: v_k \sim \mathrm{Beta}(a_k, b_k), \qquad
        p(w) = \prod_{k<K} \frac{\mathrm{Beta}(v_k \mid a_k, b_k)}{1 - \sum_{j<k} w_j}

    Args:
        taken: :math:`a`, shape ``(K - 1,)``.
        left: :math:`b`, likewise.

    Source: Connor and Mosimann (1969), *Concepts of independence for proportions with a
    generalization of the Dirichlet distribution*, JASA 64.
    """

    arg_constraints = {"taken": constraints.positive, "left": constraints.positive}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, taken: Tensor, left: Tensor) -> None:
        self.taken, self.left = taken, left
        self._shares = Beta(taken, left, validate_args=False)
        super().__init__(torch.Size(), torch.Size((len(taken) + 1,)), validate_args=False)

    def rsample(self, sample_shape=()) -> Tensor:
        """Draws shares, and breaks the stick."""
        shares = self._shares.rsample(torch.Size(sample_shape))
        one = torch.ones_like(shares[..., :1])
        remainder = torch.cat([one, (1 - shares).cumprod(-1)], -1)
        return remainder * torch.cat([shares, one], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Evaluates the log density with respect to all weights but the last."""
        remainder = value.flip(-1).cumsum(-1).flip(-1)[..., :-1]  # one minus those before
        shares = value[..., :-1] / remainder
        return (self._shares.log_prob(shares) - remainder.log()).sum(-1)
