"""Rows as they are given to EM, with what is known of them."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..checks import check, check_choice, check_values
from ..distributions import GaussianMixture, UniformBox, UniformHull
from ..distributions.background_mixture import checked_background
from ..processes import current
from .background import Background
from .known_rows import KnownRows
from .rows import Rows

__all__ = ["known_rows"]

_BLOCK_ROWS = 1 << 16
_SHAPES = ("box", "hull")


def known_rows(
    x: Any,
    like: GaussianMixture,
    sample_weight: Any = None,
    labels: Any = None,
    noise: Any = None,
    background: Any = None,
    *,
    observed: bool = False,
) -> Rows:
    """Takes rows for a mixture, and what is known of them beside their values."""
    rows = Rows(x, like.means, sample_weight, like.missing, observed=observed)
    rows.known = KnownRows.of(labels, noise, like, rows.n_rows)
    if background is not None:
        rows.known = rows.known.beside(_background(background, rows))
    return rows


def _background(given: Any, rows: Rows) -> Background:
    """Takes a distribution, or the shape of a uniform one around the rows.

    Raises:
        ValueError: if it is neither, rows are not all at hand, have no such bounds, or no density
            under it.
    """
    expected = "rows that are all at hand, as a tensor, an array or a memory map"
    check(rows.n_rows is not None, "x", f"{expected}, for a background", "a stream")
    is_shape = isinstance(given, str)
    name = check_choice("background", given, _SHAPES) if is_shape else ""
    distribution = _around(rows, name) if is_shape else given
    distribution = checked_background(distribution, rows.like.shape[-1])
    none = rows.like.new_empty(0)
    blocks = [distribution.log_prob(x).to(x) for x, _ in rows.blocks(_BLOCK_ROWS)]
    log_density = torch.cat([none, *blocks])
    is_density = log_density < torch.inf
    check_values("background", log_density, is_density, "a log density of every row of x")
    return Background(distribution, log_density)


def _around(rows: Rows, name: str) -> Distribution:
    """A uniform distribution around the rows of all processes."""
    blocks = [x if name == "hull" else _extremes(x) for x, _ in rows.blocks(_BLOCK_ROWS)]
    mine = torch.cat([rows.like.new_empty(0, rows.like.shape[-1]), *blocks]).cpu()
    points = torch.cat(current().gather("the background", mine)).to(rows.like)
    try:
        return UniformBox.around(points) if name == "box" else UniformHull.around(points)
    except ValueError as error:
        raise ValueError(f"background: {name!r} of x, {error}") from None


def _extremes(x: Tensor) -> Tensor:
    """The smallest and largest entries of columns, ``(2, D)``, or NaN where there are none."""
    is_nan = x.isnan()
    low, high = x.masked_fill(is_nan, torch.inf).amin(0), x.masked_fill(is_nan, -torch.inf).amax(0)
    return torch.where(is_nan.all(0), torch.nan, torch.stack([low, high]))
