"""The density of an affine image of a distribution, with as few operations as its family allows.

A step of variational inference evaluates it for each parameter of a network, and there it is a
good part of the step's time.
"""

import math
from functools import singledispatch
from typing import Any, Protocol

import pyro.distributions as dist
import torch
from torch import Tensor

__all__ = ["Density", "rescaled"]


class Density(Protocol):
    """What has a log density."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Evaluates the log density."""


class _Image:
    r""":math:`\log p_z((v - c) / s) - \log s`, for any family."""

    def __init__(self, standard: Any, center: Tensor, spread: Tensor) -> None:
        self.standard, self.center, self.spread = standard, center, spread
        self.log_spread = spread.log()

    def log_prob(self, value: Tensor) -> Tensor:
        return self.standard.log_prob((value - self.center) / self.spread) - self.log_spread


class _Normal:
    r""":math:`C - ((v - \mu) / \sigma)^2 / 2`."""

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.loc, self.inverse = loc, scale.reciprocal() / math.sqrt(2)
        self.constant = dist.Normal(torch.zeros_like(scale), scale).log_prob(
            torch.zeros_like(scale)
        )

    def log_prob(self, value: Tensor) -> Tensor:
        z = (value - self.loc) * self.inverse
        return torch.addcmul(self.constant, z, z, value=-1)


class _InverseGamma:
    r""":math:`C - (a + 1) \log v - b / v`; Pyro's goes by way of the gamma distribution."""

    def __init__(self, concentration: float, rate: Tensor) -> None:
        self.power, self.rate = concentration + 1, rate
        a = torch.tensor(concentration, dtype=rate.dtype, device=rate.device)
        self.constant = a * rate.log() - a.lgamma()

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.sub(self.constant - self.rate / value, value.log(), alpha=self.power)


@singledispatch
def rescaled(standard: Any, center: Tensor, spread: Tensor) -> Density:
    """The density of ``center + spread * z`` where ``z`` follows one univariate distribution."""
    return _Image(standard, center, spread)


@rescaled.register
def _(standard: dist.Normal, center: Tensor, spread: Tensor) -> Density:
    return _Normal(center + spread * standard.loc, spread * standard.scale)


@rescaled.register
def _(standard: dist.InverseGamma, center: Tensor, spread: Tensor) -> Density:
    if center.any():
        return _Image(standard, center, spread)
    return _InverseGamma(float(standard.concentration), spread * standard.rate)
