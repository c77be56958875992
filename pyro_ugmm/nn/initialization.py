"""What a layer starts from: the location and scale of its inputs, and parameters drawn for them."""

from typing import TYPE_CHECKING, Any

import torch

from ..checks import check
from ..standardization import center_and_spread
from ..tables import Table, as_table
from .kernels.dtypes import check_dtype

if TYPE_CHECKING:
    from .layer import UGMMLayer

__all__ = ["as_rows", "draw_parameters"]


def as_rows(layer: "UGMMLayer", x: Any, whose: str = "the layer") -> Table:
    """Takes rows ``(n, K)`` of any kind, finite, or NaN where inputs of the layer may be missing.

    Raises:
        ValueError: if they do not fit the layer, or are fewer than two.
    """
    rows = as_table("x", x).like(whose, layer.input_center)
    expected = f"shape (n, {layer.in_features}) with at least 2 rows"
    shape = tuple(rows.values.shape)
    check(len(shape) == 2 and shape[0] > 1 and shape[1] == layer.in_features, "x", expected, shape)
    if layer.missing == "omit":
        rows.check_observed()
    rows.check_finite("missing='omit'", missing=layer.missing == "omit")
    return rows


@torch.inference_mode(False)  # within which parameters would be such as nobody can train
@torch.no_grad()
def draw_parameters(layer: "UGMMLayer", rows: Table | None) -> None:
    """Draws a layer's parameters for inputs like ``rows``, or standardized ones.

    Raises:
        ValueError: if the layer's dtype cannot hold parameters for such inputs.
    """
    check_dtype("the layer", layer.input_center.dtype)
    center, spread = torch.zeros_like(layer.input_center), torch.ones_like(layer.input_spread)
    if rows is not None:
        values = rows.values.detach()
        center, spread = center_and_spread(values, omit_missing=layer.missing == "omit")
    loc = center + spread * torch.randn_like(layer.loc)
    scale = spread * torch.empty_like(layer.loc).uniform_(1, 2)
    if rows is not None and not loc.is_meta:
        invalid = ~(loc.isfinite() & scale.isfinite()).all(0)
        column = rows.column(int(invalid.int().argmax()))
        expected = f"columns whose scale {loc.dtype} can hold (standardize them)"
        check(not invalid.any(), "x", expected, f"values too large for it in column {column}")
    layer.input_center.copy_(center)
    layer.input_spread.copy_(spread)
    layer.loc.copy_(loc)
    layer.scale = scale.clamp(min=2 * layer.min_scale)
    layer.logits.copy_(spread.log().expand_as(layer.logits))
