"""The first run of a guide, in which it makes its parameters."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from pyro.infer import ELBO

from .programs.guide_check import check_guide
from .programs.sites import LatentSite
from .programs.traced import Rows

__all__ = ["first_run"]

_TRIES = 20  # until a draw is odd


def first_run(
    elbo: ELBO,
    model: Callable,
    guide: Any,
    sites: Mapping[str, LatentSite],
    rows: Rows,
    **size: int,
) -> None:
    """Runs a model and its guide, and says so where the guide is none of this model."""
    try:
        with torch.no_grad(), _made_whole(guide):
            elbo.loss(model, guide, *rows, **size)
    except Exception:
        for _ in range(_TRIES):
            check_guide("guide", guide, sites, rows, **size)
        raise
    check_guide("guide", guide, sites, rows, **size)


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
