"""The parameters that a layer starts from, drawn for inputs of a location and scale."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import check
from ..tables import Table

__all__ = ["StartingValues", "draw_starting_values"]


class StartingValues(NamedTuple):
    """Parameters of a layer, each of shape ``(J, K)``."""

    loc: Tensor
    scale: Tensor
    logits: Tensor

    def check_range(self, rows: Table) -> None:
        """Checks that the dtype holds them, for the rows that they are drawn for."""
        invalid = ~(self.loc.isfinite() & self.scale.isfinite()).all(0)
        column = rows.column(int(invalid.int().argmax()))
        expected = f"columns whose scale {self.loc.dtype} can hold (standardize them)"
        check(not invalid.any(), "x", expected, f"values too large for it in column {column}")


def draw_starting_values(center: Tensor, spread: Tensor, n_neurons: int) -> StartingValues:
    """Draws parameters of neurons for inputs of a location and scale, shape ``(K,)`` each.

    See :meth:`pyro_ugmm.nn.UGMMLayer.reset_parameters`.
    """
    shape = (n_neurons, len(center))
    loc = center + spread * torch.randn(shape, dtype=center.dtype, device=center.device)
    scale = spread * center.new_empty(shape).uniform_(1, 2)
    return StartingValues(loc, scale, spread.log().expand(shape))
