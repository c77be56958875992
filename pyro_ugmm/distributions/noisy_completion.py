r"""Rows measured with errors: their density, and what it says of the rows themselves.

A row :math:`x = v + e` of a component :math:`v \sim \mathcal{N}(\mu, \Sigma)`, with an error
:math:`e \sim \mathcal{N}(0, S)` of its own, has density :math:`\mathcal{N}(x \mid \mu, T)` with
:math:`T = \Sigma + S`, and

.. math::
    E[v \mid x] = \mu + \Sigma T^{-1} (x - \mu), \qquad
    \mathrm{cov}[v \mid x] = \Sigma - \Sigma T^{-1} \Sigma.

Of what is missing of a row, :math:`T^{-1}` has zeros (Bovy, Hogg and Roweis 2011, *Extreme
deconvolution*, Annals of Applied Statistics 5).
"""

import math

import torch
from torch import Tensor

from .completion import Completion, observed_factor

__all__ = ["NoisyMatrixCompletion", "NoisyVarianceCompletion"]


class NoisyMatrixCompletion(Completion):
    """Rows under components with covariance matrices ``(K, D, D)``.

    Args:
        x: the rows, ``(n, D)``, with NaN for what is missing.
        means: ``(K, D)``.
        matrices: of the components.
        noise: the errors' covariances, ``(n, D, D)``.
    """

    def __init__(self, x: Tensor, means: Tensor, matrices: Tensor, noise: Tensor) -> None:
        observed = ~x.isnan().unsqueeze(1)
        total = matrices + noise.unsqueeze(1)
        inverse, log_determinant = observed_factor(total, observed.expand(-1, len(means), -1))
        inverse = inverse * observed.unsqueeze(-2)
        y = torch.where(observed, torch.where(x.isnan(), 0, x).unsqueeze(1) - means, 0)
        z = (inverse @ y.unsqueeze(-1)).squeeze(-1)
        constant = observed.sum(-1).to(x.dtype) * math.log(2 * math.pi)
        self.log_density = -0.5 * (z.square().sum(-1) + log_determinant + constant)
        self._explained, self._matrices = inverse @ matrices, matrices
        self.deviations = (self._explained.mT @ z.unsqueeze(-1)).squeeze(-1)

    def conditional_moments(self, responsibilities: Tensor) -> Tensor:
        """Sums the conditional covariances of the rows without their errors, ``(K, D, D)``."""
        mass, e = responsibilities.sum(0), self._explained
        lost = torch.einsum("nk,nkfd,nkfe->kde", responsibilities, e, e)
        return mass[:, None, None] * self._matrices - lost


class NoisyVarianceCompletion(Completion):
    """Rows under components with variances ``(K, D)``, whose errors have variances ``(n, D)``."""

    def __init__(self, x: Tensor, means: Tensor, variances: Tensor, noise: Tensor) -> None:
        observed = ~x.isnan().unsqueeze(1)
        total = torch.where(observed, variances + noise.unsqueeze(1), 1)
        y = torch.where(observed, torch.where(x.isnan(), 0, x).unsqueeze(1) - means, 0)
        constant = observed.sum(-1).to(x.dtype) * math.log(2 * math.pi)
        self.log_density = -0.5 * ((y.square() / total + total.log()).sum(-1) + constant)
        gain = torch.where(observed, variances / total, 0)
        self.deviations = gain * y
        self._left = (1 - gain) * variances

    def conditional_moments(self, responsibilities: Tensor) -> Tensor:
        """Sums the conditional covariances of the rows without their errors, ``(K, D, D)``."""
        return torch.einsum("nk,nkd->kd", responsibilities, self._left).diag_embed()
