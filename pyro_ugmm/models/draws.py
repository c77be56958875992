"""Values of latent sites, of one draw or of many."""

from collections.abc import Mapping
from typing import Any

import pyro
import torch
from torch import Tensor

from ..checks import check
from ..programs.traced import Draws

__all__ = ["beside_rows", "check_draws", "row_plate"]


def check_draws(draws: Any) -> dict[str, Tensor]:
    """Checks that ``draws`` are tensors by name, or None, and returns them."""
    is_mapping = draws is None or isinstance(draws, Mapping)
    check(is_mapping, "draws", "tensors by site, or None", type(draws).__name__)
    for site, value in (draws or {}).items():
        is_tensor = isinstance(value, Tensor)
        check(is_tensor, "draws", f"a tensor of the site {site}", type(value).__name__)
    return dict(draws or {})


def beside_rows(draws: Draws, priors: Mapping[str, Any]) -> Draws:
    """Makes room for the rows in draws of shape ``(S,)``; those of ``(S, 1)`` have it.

    Pyro's parallel ``Predictive`` hands back draws without the dimension of the plate ``data``.
    """
    return {
        site: value.unsqueeze(-1 - priors[site].event_dim)
        if site in priors and _lacks_rows(value, priors[site].event_dim)
        else value
        for site, value in draws.items()
    }


def _lacks_rows(value: Tensor, event_dim: int) -> bool:
    n_leading = value.dim() - event_dim
    return n_leading == 1 or (n_leading > 1 and value.shape[n_leading - 1] != 1)


def row_plate(n_rows: int, size: int | None, device: torch.device) -> pyro.plate:
    """The plate ``data`` of these rows, out of ``size``."""
    at = torch.arange(n_rows, device=device)
    return pyro.plate("data", n_rows if size is None else size, subsample=at)
