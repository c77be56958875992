"""The components of mixtures over targets, whose weights a network gives."""

import math
from collections.abc import Iterable, Mapping

import pyro.distributions as dist
import torch
from pyro.nn import PyroParam
from torch import Tensor
from torch.distributions import constraints

from ..checks import check, check_integer, check_number
from ..nn.local_parameters import LocalModule
from .derived_module import DerivedModule
from .priors import Priors
from .scaled_prior import ScaledPrior

__all__ = ["SITES", "OutputMixture"]

SITES = LOC, VARIANCE = "outputs.loc", "outputs.variance"

_START_SCALE = 0.5  # in the targets' spread
_VARIANCES = dist.LogNormal(-3.0, 1.5)


def _is_floor(value: float) -> bool:
    return 0 < value < math.inf


class OutputMixture(LocalModule, DerivedModule):
    r"""Locations and scales of ``K`` components for each of ``M`` outputs.

    Parameters are in units of the targets, so that a step of training is as long in any:
    :math:`\mu = c + s m`, :math:`\sigma = s t`. Locations start over the quantiles of a normal
    distribution, or where they are put, and scales at half the targets' spread.

    Args:
        n_scores: the neurons of the network's last layer, ``M * K``.
        n_outputs: ``M``.
        priors: the units, and the priors of ``means`` and ``variances``.
        min_scale: a floor under learned scales, in units of the targets' spread.
        like: a tensor of the dtype and device.

    Raises:
        ValueError: if they do not fit each other.
    """

    center: Tensor
    spread: Tensor
    start_loc: Tensor
    start_scale: Tensor
    standard_loc: Tensor
    standard_scale: Tensor

    def __init__(
        self, n_scores: int, n_outputs: int, priors: Priors, min_scale: float, like: Tensor
    ) -> None:
        super().__init__()
        n_outputs = check_integer("n_outputs", n_outputs)
        expected = f"a multiple of n_outputs={n_outputs} neurons in the last layer"
        check(n_scores % n_outputs == 0, "network", expected, n_scores)
        are_priors, got = isinstance(priors, Priors), type(priors).__name__
        check(are_priors, "targets", "Priors or None", got)
        self.priors = priors.resolved(variances=_VARIANCES, weights=None)
        expected = "a positive number"
        self.min_scale = check_number("min_output_scale", min_scale, _is_floor, expected)
        for name, value in (("center", priors.center), ("spread", priors.spread)):
            fits, expected = value.shape in ((), (n_outputs,)), f"shape ({n_outputs},) or ()"
            check(fits, f"targets.{name}", f"{expected}, one for each output", tuple(value.shape))
            self.register_buffer(name, value.to(like).expand(n_outputs).unsqueeze(-1).clone())
        n_components = n_scores // n_outputs
        steps = (torch.arange(n_components).to(like) + 0.5) / n_components
        loc = torch.special.ndtri(steps).expand(n_outputs, -1).clone()
        scale = torch.full_like(loc, max(_START_SCALE, 2 * self.min_scale))
        self.standard_loc = torch.nn.Parameter(loc)
        self.standard_scale = PyroParam(scale, constraints.greater_than(self.min_scale))
        self.register_buffer("start_loc", loc.clone())
        self.register_buffer("start_scale", scale.clone())

    @property
    def loc(self) -> Tensor:
        """The locations, in the targets' units."""
        return self.center + self.spread * self.standard_loc

    @property
    def scale(self) -> Tensor:
        """The standard deviations, in the targets' units."""
        return self.spread * self.standard_scale

    def spread_over(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Locations over the quantiles of targets ``(n, M)``, and the scales that go with them."""
        n_components = self.start_loc.shape[-1]
        at = (torch.arange(n_components, device=rows.device) + 0.5) * len(rows) / n_components
        loc = rows.sort(0).values[at.long()].mT
        return loc, self.spread * self.start_scale

    @torch.no_grad()
    def start_at(self, loc: Tensor, scale: Tensor) -> None:
        """Puts the components, and the starts of guides, to values in the targets' units."""
        self.start_loc.copy_((loc - self.center) / self.spread)
        self.start_scale.copy_((scale / self.spread).clamp(min=2 * self.min_scale))
        self.standard_loc.copy_(self.start_loc)
        self.standard_scale = self.start_scale.clone()

    @torch.no_grad()
    def take(self, other: "OutputMixture") -> None:
        """Takes what has no prior from another, unless it does not require gradients."""
        sites = self.distributions()
        if LOC not in sites and self.standard_loc.requires_grad:
            self.standard_loc.copy_((other.loc - self.center) / self.spread)
        if VARIANCE not in sites and self.standard_scale_unconstrained.requires_grad:
            self.standard_scale = (other.scale / self.spread).clamp(min=2 * self.min_scale)

    def distributions(self) -> dict[str, dist.TorchDistribution]:
        """The prior of each parameter that has one, by the name of its site, ``(M, K)``."""
        return self._derive(self._distributions)

    def _distributions(self) -> dict[str, dist.TorchDistribution]:
        sites = {}
        if self.priors.means is not None:
            prior = ScaledPrior(self.priors.means, self.center, self.spread, self.start_loc)
            sites[LOC] = prior.to_event(2)
        if self.priors.variances is not None:
            zero, unit = torch.zeros_like(self.center), self.spread**2
            prior = ScaledPrior(self.priors.variances, zero, unit, self.start_scale**2)
            sites[VARIANCE] = prior.to_event(2)
        return sites

    def values(self, sites: Iterable[str]) -> dict[str, Tensor]:
        """The values of such sites that the parameters are now."""
        values = {LOC: self.loc.detach(), VARIANCE: self.scale.detach().square()}
        return {site: values[site] for site in sites}

    def forward(self, draws: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Locations and standard deviations, with draws of sites in place of the own ones."""
        scale = draws[VARIANCE].sqrt() if VARIANCE in draws else self.scale
        return draws.get(LOC, self.loc), scale
