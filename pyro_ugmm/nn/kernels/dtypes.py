"""Which numbers parameters and scores may be."""

from typing import Any

import torch

from ...checks import check

__all__ = ["check_dtype"]

_DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def check_dtype(name: str, dtype: Any) -> None:
    """Checks that numbers of a dtype do for parameters and scores."""
    expected = "float32, float64 or bfloat16 (float16 overflows 256 scales from a mean)"
    check(dtype in _DTYPES, name, expected, repr(dtype))
