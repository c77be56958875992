"""How a guide is made again, for another start."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from pyro.infer.autoguide import (
    AutoGuide,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)

from ..checks import check
from .full_rank import full_rank
from .low_rank import low_rank
from .mean_field import mean_field

__all__ = ["factory_of"]

_FACTORIES: dict[type[AutoGuide], Callable] = {
    AutoNormal: mean_field,
    AutoLowRankMultivariateNormal: low_rank,
    AutoMultivariateNormal: full_rank,
}


def factory_of(guide: Any) -> Callable:
    """Returns what makes such a guide, of a model and a ``start``; a function is that itself.

    Raises:
        ValueError: if the guide is a module that none of this package's functions makes, or a
            function that takes no start.
    """
    makes = "a guide of mean_field, low_rank or full_rank, or make_guide(model, start=...)"
    expected = f"for several starts, {makes}"
    if not isinstance(guide, torch.nn.Module):
        parameters = inspect.signature(guide).parameters
        check("start" in parameters, "guide", expected, f"a function of {[*parameters]}")
        return guide
    check(type(guide) in _FACTORIES, "guide", expected, type(guide).__name__)
    options = {"init_scale": guide._init_scale}
    if isinstance(guide, AutoLowRankMultivariateNormal):
        options["rank"] = guide.rank
    return functools.partial(_FACTORIES[type(guide)], **options)
