"""Paths between Gaussians, whose evidence and posterior are known."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_ugmm.sampling.path import Path


@dataclass(frozen=True)
class Conjugate:
    """A standard normal prior, and a Gaussian likelihood of precision P about b."""

    precision: Tensor
    center: Tensor

    @property
    def n_features(self) -> int:
        return len(self.center)

    def path(self, **options) -> Path:
        constant = 0.5 * self.n_features * math.log(2 * math.pi)

        def densities(u: Tensor) -> tuple[Tensor, Tensor]:
            gap = u - self.center
            return -0.5 * u.square().sum(-1) - constant, -0.5 * ((gap @ self.precision) * gap).sum(
                -1
            )

        return Path(densities, **options)

    @property
    def covariance(self) -> Tensor:
        return torch.linalg.inv(self.precision + torch.eye(self.n_features).to(self.precision))

    @property
    def mean(self) -> Tensor:
        return self.covariance @ self.precision @ self.center

    @property
    def log_evidence(self) -> float:
        fit = self.center @ self.precision @ self.center
        explained = self.mean @ torch.linalg.solve(self.covariance, self.mean)
        return float(0.5 * (torch.logdet(self.covariance) - fit + explained))


def conjugate(n_features: int, widest: float = 2.0, seed: int = 0) -> Conjugate:
    """A correlated one, with precisions up to ten to the power of ``widest``."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(n_features, n_features, generator=generator, dtype=torch.float64)
    scales = torch.logspace(-1, widest, n_features, dtype=torch.float64)
    precision = root @ root.T / n_features + scales.diag()
    center = 2 * torch.randn(n_features, generator=generator, dtype=torch.float64)
    return Conjugate(precision, center)
