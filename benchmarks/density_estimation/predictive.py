"""The density of a new row under a distribution of a mixture's parameters."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["PredictiveDensity"]


@dataclass(frozen=True)
class PredictiveDensity:
    r"""The expected density under a normal-Wishart distribution, a mixture of Student's t.

    .. math:: \sum_k \mathbb{E}[w_k] \; t_{\nu_k - D + 1} \Bigl(x \Bigm| m_k,
        \frac{\beta_k + 1}{\beta_k (\nu_k - D + 1)} \, \Psi_k\Bigr)

    Attributes:
        weights: expected, shape ``(K,)``.
        means: :math:`m`, shape ``(K, D)``.
        mean_precision: :math:`\beta`, shape ``(K,)``.
        degrees_of_freedom: :math:`\nu`, shape ``(K,)``.
        covariances: :math:`\Psi_k / \nu_k`, shape ``(K, D, D)``.

    Source: Bishop (2006), *Pattern recognition and machine learning*, equation 10.81.
    """

    weights: Tensor
    means: Tensor
    mean_precision: Tensor
    degrees_of_freedom: Tensor
    covariances: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """The log density of each row, of ``(n, D)``."""
        n_features = x.shape[1]
        degrees = self.degrees_of_freedom - n_features + 1
        shape = (1 + 1 / self.mean_precision) * self.degrees_of_freedom / degrees
        factors = torch.linalg.cholesky(shape[:, None, None] * self.covariances)
        total = degrees + n_features
        constants = (total / 2).lgamma() - (degrees / 2).lgamma()
        constants = constants - n_features / 2 * (degrees * math.pi).log()
        constants = constants - factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constants = constants + self.weights.log()
        terms = []
        for k, factor in enumerate(factors):
            deviations = (x - self.means[k]).T
            whitened = torch.linalg.solve_triangular(factor, deviations, upper=False)
            squares = whitened.square().sum(0) / degrees[k]
            terms.append(constants[k] - total[k] / 2 * squares.log1p())
        return torch.stack(terms).logsumexp(0)
