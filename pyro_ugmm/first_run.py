"""The first run of a guide, in which it makes its parameters."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from pyro import poutine
from pyro.infer import ELBO
from torch import Tensor

from .checks import check
from .programs.sites import LatentSite

__all__ = ["first_run"]

_TRIES = 20  # until a draw is odd


def first_run(
    elbo: ELBO,
    model: Callable,
    guide: Any,
    sites: Mapping[str, LatentSite],
    rows: Sequence[Tensor],
    **size: int,
) -> None:
    """Runs a model and its guide, and says so where the guide is none of this model."""
    try:
        with torch.no_grad(), _made_whole(guide):
            elbo.loss(model, guide, *rows, **size)
    except (RuntimeError, TypeError, ValueError) as error:
        tries = (_disagreement(guide, sites, rows, **size) for _ in range(_TRIES))
        reason = next((words for words in tries if words is not None), None)
        if reason is None:
            raise
        function = getattr(guide, "function", guide)
        got = getattr(function, "__name__", type(function).__name__)
        expected = "one of this model, such as mean_field(model), that takes its arguments"
        raise ValueError(f"guide: expected {expected}, got {got}: {reason}") from error
    with torch.no_grad():
        drawn = [*poutine.trace(guide).get_trace(*rows, **size).stochastic_nodes]
    for name in sites:
        check(name in drawn, "guide", f"one that draws the site {name!r}", f"draws of {drawn}")


def _disagreement(
    guide: Any, sites: Mapping[str, LatentSite], rows: Sequence[Tensor], **size: int
) -> str | None:
    """What keeps a guide from going with a model: it does not run, or draws what that does not."""
    try:
        drawn = poutine.trace(guide).get_trace(*rows, **size).nodes
    except (RuntimeError, TypeError, ValueError) as error:
        return str(error).partition("\n")[0]
    for name in [name for name in sites if name in drawn]:
        value, site = drawn[name]["value"], sites[name]
        if value.shape != site.shape:
            shape, own = tuple(value.shape), tuple(site.shape)
            return f"it draws {name} of shape {shape}, the model of {own}"
        if not site.support.check(value).all():
            return f"it draws values of {name} that are not within {site.support}"
    return None


@contextlib.contextmanager
def _made_whole(guide: Any) -> Iterator[None]:
    """A guide makes its parameters when it first runs: all of them anew, after an interrupt."""
    is_new = getattr(guide, "prototype_trace", guide) is None
    try:
        yield
    except BaseException:
        if is_new:
            guide.prototype_trace = None
        raise
