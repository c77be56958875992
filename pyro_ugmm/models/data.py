"""Checks of the data that enter a model."""

import torch
from torch import Tensor

from ..checks import check, check_floating, check_same_kind, check_values
from ..nn import UGMMLayer

__all__ = ["check_features", "check_labels", "check_rows"]

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def check_features(x: Tensor, layer: UGMMLayer, n_features: int) -> None:
    """Checks that the rows of ``x`` are finite, or NaN where it omits that, and fit a network's
    first layer.
    """
    check_floating("x", x)
    expected = f"shape (n, {n_features}) with at least one row"
    fits = x.dim() == 2 and x.shape[0] > 0 and x.shape[1] == n_features
    check(fits, "x", expected, tuple(x.shape))
    check_same_kind({"the network": layer.input_center, "x": x})
    _check_finite(x, layer.missing == "omit", "omit")


def check_labels(y: Tensor, x: Tensor, n_classes: int) -> None:
    """Checks that ``y`` holds one integer label from 0 to ``n_classes - 1`` for each row."""
    check(isinstance(y, Tensor), "y", "a torch tensor", type(y).__name__)
    check(y.dtype in _INTEGERS, "y", "integer labels", y.dtype)
    expected = f"{x.shape[0]} labels in its last dimension, one a row of x"
    check(y.shape[-1:] == x.shape[:1], "y", expected, f"shape {tuple(y.shape)}")
    check(y.device == x.device, "y", f"device {x.device}, where x is", f"device {y.device}")
    valid = (y >= 0) & (y < n_classes)
    check_values("y", y, valid, f"labels from 0 to {n_classes - 1}")


def check_rows(x: Tensor, like: Tensor, missing: str) -> None:
    """Checks that the rows of ``x`` are like ``(K, D)`` means, and finite where not missing."""
    check_floating("x", x)
    expected = f"shape (n, {like.shape[1]}) with at least one row"
    fits = x.dim() == 2 and len(x) > 0 and x.shape[1] == like.shape[1]
    check(fits, "x", expected, tuple(x.shape))
    same = x.dtype == like.dtype and x.device == like.device
    expected = f"{like.dtype} on {like.device}, as the model is (convert it or the rows by .to)"
    check(same, "x", expected, f"{x.dtype} on {x.device}")
    _check_finite(x, missing == "marginalize", "marginalize")


def _check_finite(x: Tensor, may_miss: bool, word: str) -> None:
    """Checks that rows are finite; or, if they may miss something, NaN, though not all of a row."""
    valid, expected = x.isfinite(), f"finite values (missing={word!r} takes NaN)"
    if may_miss:
        valid |= x.isnan() & ~x.isnan().all(1, keepdim=True)
        expected = "finite values, or NaN in rows of which something was observed"
    check_values("x", x, valid, expected)
