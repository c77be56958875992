"""The priors over one layer of a network."""

from collections.abc import Callable
from typing import NamedTuple

import pyro.distributions as dist
import torch
from torch import Tensor

from ..checks import check, check_precision
from ..nn import UGMMLayer, UGMMNetwork
from .derived_module import DerivedModule
from .dirichlet import Dirichlet
from .priors import Priors
from .scaled_prior import ScaledPrior

__all__ = ["SITES", "LayerPrior", "make_layer_priors"]


class _Site(NamedTuple):
    """How the value of a site stands for a parameter of a layer, or stands in for it."""

    parameter: str
    stand_in: str
    to_stand_in: Callable[[Tensor], Tensor]
    from_parameter: Callable[[Tensor], Tensor]


_LEAST_WEIGHT = 1e-6  # at zero, a simplex has no logarithm


def _weights_of(logits: Tensor) -> Tensor:
    weights = logits.softmax(-1).clamp(min=_LEAST_WEIGHT)
    return weights / weights.sum(-1, keepdim=True)


SITES = {
    "loc": _Site("loc", "loc", lambda loc: loc, torch.Tensor.clone),
    "variance": _Site("scale", "scale", torch.sqrt, torch.square),
    "weights": _Site("logits", "log_weights", torch.log, _weights_of),
}


def _check_units(layer: UGMMLayer, priors: Priors) -> None:
    """Checks that the priors are for inputs like those the network was initialized for."""
    for name, value in (("center", priors.center), ("spread", priors.spread)):
        check(
            value.shape in ((), (layer.in_features,)),
            f"priors.{name}",
            f"shape ({layer.in_features},), as the network has features",
            tuple(value.shape),
        )
    center, spread = priors.center.to(layer.loc), priors.spread.to(layer.loc)
    ratio = spread / layer.input_spread
    distance = (center - layer.input_center).abs() / torch.maximum(spread, layer.input_spread)
    check(
        ((ratio > 0.1) & (ratio < 10) & (distance < 10)).all(),
        "priors",
        "the location and scale of inputs that the network was initialized for "
        "(network.reset_parameters(x) and Priors.from_data(x) take them from the same data)",
        f"centers up to {float(distance.max()):.3g} spreads apart, "
        f"spreads {float(ratio.min()):.3g} to {float(ratio.max()):.3g} times as large",
    )


class LayerPrior(DerivedModule):
    """The priors over one layer's parameters, at the scale of that layer's inputs.

    It keeps a copy of what it needs of the layer, so that a prior, and the place where a plain
    autoguide starts, do not move when the network is trained.
    """

    center: Tensor
    spread: Tensor
    start_loc: Tensor
    start_variance: Tensor

    def __init__(self, layer: UGMMLayer, priors: Priors) -> None:
        super().__init__()
        self.priors = priors
        loc = layer.loc.detach()
        self.register_buffer("center", priors.center.to(loc).expand(layer.in_features).clone())
        self.register_buffer("spread", priors.spread.to(loc).expand(layer.in_features).clone())
        self.register_buffer("start_loc", loc.clone())
        self.register_buffer("start_variance", layer.scale.detach().square())

    def distributions(self) -> dict[str, dist.TorchDistribution]:
        """The prior of each parameter that has one, by the name of its site."""
        return self._derive(self._distributions)

    def _distributions(self) -> dict[str, dist.TorchDistribution]:
        priors, sites = self.priors, {}
        if priors.means is not None:
            origin = (self.start_loc - self.center) / self.spread
            scaled = ScaledPrior(priors.means, self.center, self.spread, origin)
            sites["loc"] = scaled.to_event(2)
        if priors.variances is not None:
            unit = self.spread**2
            origin = self.start_variance / unit
            scaled = ScaledPrior(priors.variances, torch.zeros_like(unit), unit, origin)
            sites["variance"] = scaled.to_event(2)
        if priors.weights is not None:
            check_precision("a model with priors.weights", self.start_loc)
            concentration = torch.full_like(self.start_loc, priors.weights)
            sites["weights"] = Dirichlet(concentration).to_event(1)
        return sites


def make_layer_priors(network: UGMMNetwork, priors: Priors | None) -> torch.nn.ModuleList:
    """The priors over each layer: hidden ones have inputs of the scale that the network noted."""
    if priors is None:
        return torch.nn.ModuleList()
    first, *hidden = network.layers
    _check_units(first, priors)
    rest = [
        LayerPrior(layer, priors.scaled(layer.input_center, layer.input_spread)) for layer in hidden
    ]
    return torch.nn.ModuleList([LayerPrior(first, priors), *rest])
