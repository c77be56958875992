"""What guides share: their start, and the curvature there."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide, AutoNormal
from pyro.infer.autoguide.initialization import init_to_feasible, init_to_value
from pyro.nn import PyroModule
from torch import Tensor
from torch.distributions import biject_to

from ..checks import check, check_number
from ..curvature import Curvature, posterior_curvature
from ..nn.local_parameters import localize
from ..precision import full_precision
from ..programs.entry import check_program, enter_observed
from ..programs.sites import LatentSites, check_start, sites_of
from ..programs.traced import Rows
from ..pyro_state import exclusive_pyro
from ..trainable import trainable

__all__ = ["INIT_SCALE", "started"]

INIT_SCALE = 0.05


def _rows(model: Callable, x: Any, y: Any) -> Rows:
    """The data that a guide is given, which may be none."""
    check(x is not None or y is None, "x", "what comes with y", "None")
    return () if x is None else enter_observed(model, x, y, "labels, with x")


def _start_values(model: Callable, rows: Rows, start: Any) -> dict[str, Tensor]:
    """Values of all latent sites; of a program that cannot run yet, those that are given."""
    if not rows and not isinstance(model, LatentSites):
        return {name: torch.as_tensor(value) for name, value in check_start(start).items()}
    sites = sites_of(model, rows)
    values = sites.start_values(start)
    check(values, "model", "a model with priors", "one without, which leaves nothing to infer")
    if start is not None:
        sites.take_start(start)
    return values


def _subsampled(model: Callable, values: Mapping[str, Tensor], rows: Rows) -> list[str]:
    """The sites of a plate that subsamples, of which a run has some values only."""
    if not rows or isinstance(model, LatentSites):
        return []
    nodes = poutine.trace(model).get_trace(*rows).nodes
    return [name for name, value in values.items() if nodes[name]["value"].shape != value.shape]


def _run(guide: AutoGuide, model: Callable, rows: Rows) -> None:
    """Runs a guide for the first time."""
    try:
        guide(*rows)
    except NotImplementedError as error:
        nodes = poutine.trace(model).get_trace(*rows).nodes.items()
        apart = [
            name
            for name, node in nodes
            if node["type"] == "sample" and not node["is_observed"]
            if not all(frame.vectorized for frame in node["cond_indep_stack"])
        ]
        expected = "latent sites in vectorized plates (with pyro.plate(...):), or sample_posterior"
        raise ValueError(f"model: expected {expected}, got {apart}: {error}") from error


def _start_all_rows(guide: Any, model: Callable, values: dict[str, Tensor], rows: Rows) -> None:
    """Starts such sites, of which the guide holds all values though it has seen some."""
    expected = f"mean_field, as {[*values]} are in a plate that subsamples"
    check(not values or isinstance(guide, AutoNormal), "guide", expected, type(guide).__name__)
    sites = sites_of(model, rows).latent_sites()
    for name, value in values.items():
        start = biject_to(sites[name].support).inv(value)
        attrgetter(name)(guide.locs).copy_(start)


def _is_summed_out(site: Any) -> bool:
    is_latent = site["type"] == "sample" and not site["is_observed"]
    return is_latent and getattr(site["fn"], "has_enumerate_support", False)


@full_precision
def started(
    kind: type[AutoGuide],
    model: Callable,
    start: Any,
    data: tuple[Any, Any],
    scale: float,
    **rest: Any,
) -> tuple[Any, Curvature | None]:
    """Makes a guide at a start; given data, also its parameters, and the curvature there."""
    check_program(model)
    expected = "a positive number"
    scale = check_number("init_scale", scale, lambda s: 0 < s < float("inf"), expected)
    if isinstance(model, PyroModule):
        localize(model)
    with exclusive_pyro(), trainable(model), pyro.get_param_store().scope():
        rows, latent = _rows(model, *data), model
        values = _start_values(model, rows, start)
        parts = _subsampled(model, values, rows)
        whole = {name: value for name, value in values.items() if name not in parts}
        init = init_to_value(values=whole, fallback=init_to_feasible)
        if rows or isinstance(model, LatentSites):
            latent = poutine.block(model, expose=[*values])  # so that it runs without labels too
        else:
            latent = poutine.block(model, hide_fn=_is_summed_out)
        guide = kind(latent, init_loc_fn=init, init_scale=scale, **rest)
        localize(guide)
        if not rows:
            return guide, None
        curvature = posterior_curvature(model, values, rows)
        with torch.no_grad():
            _run(guide, model, rows)
            _start_all_rows(guide, model, {name: values[name] for name in parts}, rows)
    return guide, curvature
