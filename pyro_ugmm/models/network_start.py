"""What a network's parameters are as values of sites, and sites' values as parameters."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ..checks import check
from ..nn import UGMMNetwork
from .layer_prior import SITES

__all__ = ["check_start", "copy_parameters", "parameters_of", "values_of"]


def check_start(start: Any, network: UGMMNetwork) -> None:
    """Checks that a start is a network of the sizes of another."""
    expected = f"a UGMMNetwork of sizes {network.sizes}"
    fits = isinstance(start, UGMMNetwork) and start.sizes == network.sizes
    check(fits, "start", expected, start)


def parameters_of(draws: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What stands in for a network's parameters, of values of sites."""
    parameters = {}
    for site, value in draws.items():
        prefix, _, name = site.rpartition(".")
        check(name in SITES, "draws", "sites like layers.0.loc, .variance or .weights", site)
        parameters[f"{prefix}.{SITES[name].stand_in}"] = SITES[name].to_stand_in(value)
    return parameters


def values_of(start: UGMMNetwork, sites: Iterable[str], like: UGMMNetwork) -> dict[str, Tensor]:
    """The values of sites that a network's parameters are, in the kind of another's."""
    values = {}
    for site in sites:
        _, i, name = site.split(".")
        value = getattr(start.layers[int(i)], SITES[name].parameter).detach()
        values[site] = SITES[name].from_parameter(value.to(like.layers[int(i)].input_center))
    return values


def copy_parameters(start: UGMMNetwork, to: UGMMNetwork, sites: Iterable[str]) -> None:
    """Copies what is no site, unless it does not require gradients."""
    for i, (own, other) in enumerate(zip(to.layers, start.layers, strict=True)):
        for name, (parameter, *_) in SITES.items():
            kept = "scale_unconstrained" if parameter == "scale" else parameter
            if f"layers.{i}.{name}" in sites or not getattr(own, kept).requires_grad:
                continue
            value = getattr(other, parameter).detach().to(own.input_center)
            if parameter == "scale":
                value = value.masked_fill(value <= own.min_scale, 2 * own.min_scale)
            setattr(own, parameter, value)
