"""Where a loss that is not finite comes from."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

__all__ = ["bad_parameter", "bad_rows", "bad_site", "largest_parameter"]

_TRIES = 20  # with several particles, one draw need not be the one that broke down


def bad_parameter(parameters: Mapping[str, Tensor]) -> str | None:
    """Names the first parameter that is not finite, if there is one; a log weight may be -inf."""
    for name, tensor in parameters.items():
        values = tensor.detach()
        valid = values < math.inf if name.endswith("logits") else values.isfinite()
        if not valid.all():
            return f"parameter {name} is not finite"
    return None


def bad_rows(terms: Tensor) -> str | None:
    """Says which rows' terms ``(..., n)`` are not finite, if only some are not."""
    bad = terms.detach().isfinite().logical_not().reshape(-1, terms.shape[-1]).any(0)
    if bad.all() or not bad.any():
        return None
    count = f"{int(bad.sum())} of {len(bad)} rows of the batch"
    return f"the terms of {count}, the first of them row {int(bad.nonzero()[0])}, are not finite"


def largest_parameter(parameters: Mapping[str, Tensor]) -> str:
    """Names the parameter with the largest value."""
    sizes = {name: float(tensor.detach().abs().max()) for name, tensor in parameters.items()}
    worst = max(sizes, key=sizes.__getitem__)
    return f"values of up to {sizes[worst]:.3g} in parameter {worst}"


@torch.no_grad()
def bad_site(model: Callable, guide: Callable, *rows: Tensor, **size: int) -> str | None:
    """Names the first site whose value or log density under draws of the guide is not finite."""
    for _ in range(_TRIES):
        drawn = poutine.trace(guide).get_trace(*rows, **size)
        scored = poutine.trace(poutine.replay(model, drawn)).get_trace(*rows, **size)
        for trace in (drawn, scored):
            for name, site in trace.nodes.items():
                if site["type"] == "sample":
                    part = _bad_part(site)
                    if part:
                        return f"{part} of site {name} is not finite"
    return None


def _bad_part(site: Mapping[str, Any]) -> str | None:
    if not site["value"].isfinite().all() and not site["is_observed"]:
        return "the value"
    log_prob = site["fn"].log_prob(site["value"])
    if math.isfinite(float(log_prob.sum())):
        return None
    rows = bad_rows(log_prob) if site["is_observed"] else None
    return "the log density" if rows is None else f"{rows}: the log density"
