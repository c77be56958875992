"""Where a loss that is not finite comes from."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

__all__ = ["bad_parameter", "bad_site", "largest_parameter"]

_TRIES = 20  # with several particles, one draw need not be the one that broke down


def bad_parameter(parameters: Mapping[str, Tensor]) -> str | None:
    """Names the first parameter that is not finite, if there is one."""
    for name, tensor in parameters.items():
        if not tensor.detach().isfinite().all():
            return f"parameter {name} is not finite"
    return None


def largest_parameter(parameters: Mapping[str, Tensor]) -> str:
    """Names the parameter with the largest value."""
    sizes = {name: float(tensor.detach().abs().max()) for name, tensor in parameters.items()}
    worst = max(sizes, key=sizes.__getitem__)
    return f"values of up to {sizes[worst]:.3g} in parameter {worst}"


@torch.no_grad()
def bad_site(model: Callable, guide: Callable, *rows: Tensor, size: int) -> str | None:
    """Names the first site whose value or log density under draws of the guide is not finite."""
    for _ in range(_TRIES):
        drawn = poutine.trace(guide).get_trace(*rows, size=size)
        scored = poutine.trace(poutine.replay(model, drawn)).get_trace(*rows, size=size)
        for trace in (drawn, scored):
            for name, site in trace.nodes.items():
                if site["type"] == "sample":
                    found = _bad_part(site)
                    if found:
                        return f"{found} of site {name} is not finite"
    return None


def _bad_part(site: Mapping[str, Any]) -> str | None:
    if not site["value"].isfinite().all() and not site["is_observed"]:
        return "the value"
    log_prob = site["fn"].log_prob(site["value"])
    return None if math.isfinite(float(log_prob.sum())) else "the log density"
