"""Continuous targets that enter a model: checked, and turned to tensors like the model's."""

from typing import Any

import numpy as np
from torch import Tensor

from ..checks import check
from ..tables import as_table

__all__ = ["check_varying", "targets_for", "targets_of"]

_FURTHEST = 10.0  # spreads from the center, of half of the targets
_FEW_ROWS = 10  # which may all be odd


def _whole_kind(y: Any) -> Any:
    """The kind of whole numbers or truth values that y holds, or None."""
    if isinstance(y, Tensor):
        return None if y.is_floating_point() or y.is_complex() else y.dtype
    kind = getattr(y, "dtype", None)
    kind = np.asarray(y).dtype if not isinstance(kind, np.dtype) else kind
    return kind if kind.kind in "biu" else None


def targets_of(y: Any, like: Tensor) -> Tensor:
    """Turns targets to a tensor like another.

    Raises:
        ValueError: if they are whole numbers, as labels are, or not finite.
    """
    whole = _whole_kind(y)
    expected = (
        "continuous targets, in floating-point numbers (UGMMClassifier takes labels; convert "
        "counts and rounded measurements to floating point)"
    )
    check(whole is None, "y", expected, f"whole numbers of {whole}")
    table = as_table("y", y).like("the model", like)
    table.check_finite()
    return table.values


def check_varying(rows: Tensor) -> None:
    """Checks that targets ``(n, M)`` have a spread in every output."""
    check(rows.dim() == 2, "y", "shape (n,) or (n, M)", f"{rows.dim()} dimensions")
    check(len(rows) > 1, "y", "at least 2 rows", len(rows))
    constant = (rows == rows[0]).all(0)
    if constant.any():
        output = int(constant.int().argmax())
        of_output = f" of output {output}" if rows.shape[1] > 1 else ""
        got = f"{rows[0, output].item():g} in all {len(rows)} rows{of_output}"
        check(False, "y", "targets that vary", got)


def targets_for(y: Any, x: Tensor, center: Tensor, spread: Tensor) -> Tensor:
    """Turns targets to a tensor ``(n,)``, or ``(n, M)`` of several outputs.

    Args:
        y: the targets, in whatever holds them.
        x: the features, which have as many rows.
        center: the model's center of them, shape ``(M, 1)``.
        spread: their spread, likewise.

    Raises:
        ValueError: if they are labels, do not fit, are not finite, or in other units: half of ten
            or more are further than ten spreads from the center.
    """
    values, n_outputs = targets_of(y, x), len(center)
    shapes = [(len(x), n_outputs)] + [(len(x),)] * (n_outputs == 1)
    expected = f"shape {shapes[-1]}, as x has rows"
    check(tuple(values.shape) in shapes, "y", expected, tuple(values.shape))
    rows = values.reshape(len(x), n_outputs)
    far = ((rows.detach() - center[:, 0]) / spread[:, 0]).abs().median(0).values.max()
    expected = (
        "targets in the model's units (standardize them, or take the units from them by "
        "UGMMRegressor.from_data)"
    )
    got = f"half of them {float(far):.3g} spreads and more from the center"
    check(len(x) < _FEW_ROWS or far <= _FURTHEST, "y", expected, got)
    return rows if n_outputs > 1 else rows[:, 0]
