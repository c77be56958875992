"""Whether a guide goes with a program: it takes its data, and draws its latent sites."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import Unit
from pyro.poutine.util import prune_subsample_sites

from .plates import whole_plates
from .sites import LatentSite
from .traced import Rows

__all__ = ["check_guide"]


def check_guide(
    name: str, guide: Any, sites: Mapping[str, LatentSite], rows: Rows, **size: int
) -> None:
    """Checks that a guide draws the latent sites of a program, and nothing else.

    Args:
        name: the argument's, for the error.
        guide: the guide.
        sites: the program's.
        rows: its data.
        **size: what is given beside these.

    Raises:
        ValueError: if it does not.
    """
    reason = _disagreement(guide, sites, rows, **size)
    if reason is not None:
        function = getattr(guide, "function", guide)
        got = getattr(function, "__name__", type(function).__name__)
        expected = "one of this model, such as mean_field(model), that takes its arguments"
        raise ValueError(f"{name}: expected {expected}, got {got}: {reason}")


def _disagreement(
    guide: Callable, sites: Mapping[str, LatentSite], rows: Rows, **size: int
) -> str | None:
    """What keeps a guide from going with a program, in words."""
    try:
        with torch.no_grad(), whole_plates():
            trace = prune_subsample_sites(poutine.trace(guide).get_trace(*rows, **size))
    except Exception as error:  # whatever a guide of something else runs into
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    drawn = {name: trace.nodes[name] for name in trace.stochastic_nodes}
    for name, site in sites.items():
        if name not in drawn:
            return f"it does not draw the site {name!r}, but {[*drawn]}"
        value = drawn[name]["value"]
        if value.shape != site.shape:
            return f"it draws {name} of shape {tuple(value.shape)}, the model {tuple(site.shape)}"
        if not site.support.check(value).all():
            return f"it draws values of {name} that are not within {site.support}"
    others = [
        name
        for name, node in drawn.items()
        if name not in sites and not node["infer"].get("is_auxiliary")
    ]
    if others:
        return f"it draws {others}, which are no sites that the model infers"
    observed = [
        name
        for name in trace.observation_nodes
        if not isinstance(trace.nodes[name]["fn"], Unit)
        and not trace.nodes[name]["infer"].get("_deterministic")
    ]
    return f"it observes {observed}, as a model does" if observed else None
