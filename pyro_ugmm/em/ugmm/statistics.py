"""The E-step for products of nodes: one pass over blocks of rows, which leaves sums."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...accumulation import BlockSum, double
from ...distributions import UGMMMixture
from ...distributions.ugmm_evaluation import rows_at_once
from ...missing_values import mixture_rule
from ..rows import Rows

__all__ = ["NodeStatistics", "read_rows"]

# Log shares below this are raised to it, as subnormal numbers would slow the processor down.
_LEAST = {torch.float64: -600.0, torch.float32: -60.0}


@dataclass(frozen=True, eq=False)
class NodeStatistics:
    """What an M-step needs of the rows.

    Attributes:
        component_mass: the weight of each component's rows, shape ``(C,)``.
        mass: that of each Gaussian, as far as its dimension was observed, ``(C, D, M)``.
        first: its sum of deviations from the Gaussian's mean, in its standard deviations, likewise.
        second: of their squares, likewise.
        log_likelihood: of all rows, in nats, float64, as is the following.
        weight: of all rows.
    """

    component_mass: Tensor
    mass: Tensor
    first: Tensor
    second: Tensor
    log_likelihood: Tensor
    weight: Tensor


def read_rows(mixture: UGMMMixture, rows: Rows, *, only_likelihood: bool = False) -> NodeStatistics:
    """Gathers the statistics of all rows; without the moments, which are then zeros, where only the
    likelihood is asked for.
    """
    expectation = _Expectation(mixture, only_likelihood)
    for x, weight in rows.blocks(rows_at_once(mixture.nodes)):
        expectation.add(x, weight)
    return expectation.statistics()


class _Expectation:
    """Adds blocks of rows.

    Args:
        mixture: of batch shape ``()``.
        only_likelihood: whether to leave out the moments.
    """

    def __init__(self, mixture: UGMMMixture, only_likelihood: bool) -> None:
        nodes = mixture.nodes
        self._loc, self._precision = nodes.loc.unsqueeze(-1), 1 / nodes.scale.unsqueeze(-1)
        constant = nodes.logits - nodes.scale.log() - 0.5 * math.log(2 * math.pi)
        self._constant = constant.unsqueeze(-1)
        self._log_weights = mixture.log_weights.unsqueeze(-1)
        self._takes_nan = mixture_rule(mixture.missing).takes_nan
        self._only_likelihood = only_likelihood
        self._component_mass = torch.zeros_like(double(mixture.weights))
        self._sums = torch.zeros(3, *nodes.loc.shape).to(self._component_mass)
        self._log_likelihood, self._weight = BlockSum(nodes.loc), BlockSum(nodes.loc)

    def add(self, x: Tensor, weight: Tensor | None) -> None:
        """Adds rows ``(B, D)`` with weights ``(B,)``, or weights of one."""
        missing = x.isnan().T if self._takes_nan else None
        if missing is not None:
            x = torch.where(missing.T, 0, x)
        z = (x.T.unsqueeze(1) - self._loc).mul_(self._precision)  # (C, D, M, B)
        shares = torch.addcmul(self._constant, z, z, value=-0.5)
        node_log_density = _normalize(shares, 2)
        if missing is not None:
            node_log_density.masked_fill_(missing, 0)
        of_components = node_log_density.sum(1).add_(self._log_weights)
        log_density = _normalize(of_components, 0)
        if weight is None:
            self._weight.count += len(x)
        else:
            self._weight.add(weight)
            log_density = log_density * weight
            of_components.mul_(weight)
        self._log_likelihood.add(log_density)
        if self._only_likelihood:
            return
        self._component_mass += double(of_components.sum(-1))
        counts = of_components.unsqueeze(1)
        counts = counts if missing is None else torch.where(missing, 0, counts)
        shares.mul_(counts.unsqueeze(2))
        self._sums[0] += double(shares.sum(-1))
        weighted = shares.mul_(z)
        self._sums[1] += double(weighted.sum(-1))
        self._sums[2] += double(weighted.mul_(z).sum(-1))

    def statistics(self) -> NodeStatistics:
        """Returns the sums of all rows added; those of what has no weight are zeros."""
        totals = self._log_likelihood.value(), self._weight.value()
        is_possible = double(self._log_weights[:, 0]) > -math.inf
        of_gaussians = double(self._constant[..., 0]) > -math.inf
        mass, first, second = self._sums * (of_gaussians & is_possible[:, None, None])
        of_components = self._component_mass * is_possible
        return NodeStatistics(of_components, mass, first, second, *totals)


def _normalize(log_joint: Tensor, dim: int) -> Tensor:
    """Turns joint log densities into shares, in place; returns the logarithms of their sums."""
    largest = log_joint.amax(dim, keepdim=True).clamp_(min=torch.finfo(log_joint.dtype).min)
    log_joint.sub_(largest).clamp_(min=_LEAST[log_joint.dtype]).exp_()
    total = log_joint.sum(dim, keepdim=True)
    log_joint.div_(total)
    return (total.log_() + largest).squeeze(dim)
