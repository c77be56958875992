"""A background beside the Gaussian components, whose weight EM learns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import BackgroundMixture, GaussianMixture

__all__ = ["Background"]

_START = 0.1


@dataclass(frozen=True, eq=False)
class Background:
    """A distribution of fixed density, and the rows' log densities under it.

    In the steps of EM, a mixture's weights leave to the background what they lack of one.

    Attributes:
        distribution: of rows.
        log_density: of each row, ``(n,)``.
    """

    distribution: Distribution
    log_density: Tensor

    def some(self, at: Any) -> Background:
        """That of some of the rows."""
        return replace(self, log_density=self.log_density[at])

    def begin(self, starts: GaussianMixture) -> GaussianMixture:
        """Leaves a share to the background in starts."""
        weights = (1 - _START) * starts.weights
        return starts.with_parameters(weights, starts.means, starts.covariance)

    def take_share(self, log_density: Tensor, log_joint: Tensor, weights: Tensor) -> Tensor:
        """Takes from responsibilities ``(S, K, B)``, in place, what is the background's of rows.

        Args:
            log_density: of rows and any component, ``(S, B)``.
            log_joint: the responsibilities.
            weights: of the components, ``(S, K)``.

        Returns:
            The log density of rows and any component or the background.
        """
        share = (1 - weights.sum(-1, keepdim=True)).clamp(min=0)
        whole = torch.logaddexp(log_density, share.log() + self.log_density)
        log_joint.mul_((log_density - whole).exp().unsqueeze(1))
        return whole

    def join_to(self, mixture: GaussianMixture) -> BackgroundMixture:
        """Returns what a mixture whose weights lack a share is with it."""
        total = mixture.weights.sum(-1)
        weights = mixture.weights / total.unsqueeze(-1)
        whole = GaussianMixture(weights, mixture.means, mixture.covariance, missing=mixture.missing)
        return BackgroundMixture(whole, self.distribution, (1 - total).clamp(0, 1))
