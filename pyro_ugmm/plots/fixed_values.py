"""The values that features keep while others are drawn over."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..checks import check
from ..missing_values import MissingRule
from ..tables import as_table

__all__ = ["fixed_values"]


def fixed_values(fixed: Any, x: Tensor, drawn: Sequence[int], missing: MissingRule) -> Tensor:
    """The values given for all features, of which those of the features drawn do not count."""
    table = as_table("fixed", fixed).like("x", x)
    shape, expected = tuple(table.values.shape), x.shape[1:]
    check(shape == expected, "fixed", f"shape {tuple(expected)}", shape)
    values = table.values.detach().index_fill(0, torch.tensor(drawn, device=x.device), 0.0)
    replace(table, values=values).check_finite(missing)
    return values
