"""The data that enter a model: checked, and turned to tensors like the model's."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_values
from ..missing_values import MissingRule, network_rule
from ..nn import UGMMLayer, UGMMNetwork
from ..tables import as_labels, as_table

__all__ = ["features_for", "labels_for", "raise_overflow", "rows_for"]

_SMALL_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_LARGE_INTEGERS = (torch.uint16, torch.uint32, torch.uint64)  # which torch cannot compare


def rows_for(x: Any, like: Tensor, missing: MissingRule) -> Tensor:
    """Turns rows to a tensor ``(n, K)`` like one of the model's, whose last dimension has ``K``.

    Args:
        x: the rows, in whatever holds them.
        like: the model's tensor.
        missing: whether the model takes NaN.

    Raises:
        ValueError: if they do not fit, or are not finite where not missing.
    """
    table = as_table("x", x)
    n_features, shape = like.shape[-1], tuple(table.values.shape)
    expected = f"shape (n, {n_features}) with at least one row"
    check(len(shape) == 2 and shape[0] > 0 and shape[1] == n_features, "x", expected, shape)
    table = table.like("the model", like)
    table.check_finite(missing)
    return table.values


def features_for(x: Any, layer: UGMMLayer, n_features: int) -> Tensor:
    """Turns features to a tensor ``(n, K)`` that a network's first layer takes."""
    like = layer.input_center[:n_features]
    return rows_for(x, like, network_rule(layer.missing))


def labels_for(
    y: Any, x: Tensor, n_classes: int, whose: str = "x", name: str = "y", hint: str = ""
) -> Tensor:
    """Turns labels to a tensor of integers, from 0 to ``n_classes - 1``, one for each row of x.

    Args:
        y: the labels, in whatever holds them.
        x: what has the rows.
        n_classes: the number of classes.
        whose: what the caller calls that.
        name: what the caller calls the labels.
        hint: what takes numbers that are no labels, in words.
    """
    labels = as_labels(name, y)
    if not isinstance(y, Tensor):
        large = labels.dtype in _LARGE_INTEGERS
        labels = (labels.long() if large else labels).to(x.device)
    check(labels.dtype in _SMALL_INTEGERS, name, f"integer labels{hint}", labels.dtype)
    expected = f"{x.shape[0]} labels in its last dimension, one a row of {whose}"
    check(labels.shape[-1:] == x.shape[:1], name, expected, f"shape {tuple(labels.shape)}")
    same = labels.device == x.device
    check(same, name, f"device {x.device}, where {whose} is", f"device {labels.device}")
    valid = (labels >= 0) & (labels < n_classes)
    check_values(name, labels, valid, f"labels from 0 to {n_classes - 1}")
    return labels


def raise_overflow(
    x: Tensor, finite: Tensor, network: UGMMNetwork, draws: Mapping[str, Tensor]
) -> None:
    """Says what made scores overflow: features far from a network's, or draws from its priors.

    Args:
        x: the features.
        finite: which rows have finite scores.
        network: the network.
        draws: the values of its sites.

    Raises:
        ValueError: in any case.
    """
    first = network.layers[0]
    center, spread = first.input_center[: x.shape[1]], first.input_spread[: x.shape[1]]
    # Each layer squares what it is given.
    furthest = torch.finfo(x.dtype).max ** (0.5 ** len(network.layers))
    is_far = ((x - center) / spread).abs() > furthest
    expected = f"features whose scores stay finite in {x.dtype}"
    as_table("x", x).check_entries(finite.unsqueeze(-1) | ~is_far, expected)
    expected = f"some whose draws keep the scores of such features finite in {x.dtype}"
    ranges = [f"{site} from {v.min():.3g} to {v.max():.3g}" for site, v in draws.items()]
    check(False, "priors", expected, f"draws of {', '.join(ranges) or 'nothing'}")
