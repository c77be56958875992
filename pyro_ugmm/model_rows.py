"""The rows that a model is given: of any kind, converted and checked."""

import itertools
from typing import Any

import torch
from torch import Tensor

from .checks import check
from .missing_values import mixture_rule, network_rule
from .models.base import BayesianModel
from .tables import Table, as_labels, as_table

__all__ = ["model_rows", "model_tensor"]


def model_tensor(model: BayesianModel) -> Tensor:
    """A tensor of a model's dtype, where the model is."""
    held = itertools.chain(model.buffers(), model.parameters())
    return next(tensor for tensor in held if tensor.is_floating_point())


def model_rows(model: BayesianModel, x: Any, y: Any = None) -> tuple[Tensor, ...]:
    """Takes rows, and labels if there are some, as a model takes them, without a graph.

    Args:
        model: the model.
        x: the rows, in whatever holds them.
        y: labels, or None.

    Raises:
        ValueError: if they do not fit the model.
    """
    labels, named = y is not None, model.observed == "y"
    check(labels or not named, "y", "labels, one for each row", "None")
    like, table = model_tensor(model), as_table("x", x)
    if not table.is_tensor:
        table = table.like("the model", like)
        _check_columns(model, table)
    rows = (table.values, _labels(y, like.device)) if labels else (table.values,)
    model.check_data(*rows)
    check(not labels or rows[-1].dim() == 1, "y", "shape (n,)", tuple(rows[-1].shape))
    return tuple(_plain(part) for part in rows)


def _labels(y: Any, device: torch.device) -> Tensor:
    labels = as_labels("y", y)
    if isinstance(y, Tensor):
        return labels
    is_whole = not labels.is_floating_point() and labels.dtype != torch.bool
    return labels.to(device, torch.long if is_whole else labels.dtype)


def _check_columns(model: BayesianModel, table: Table) -> None:
    """Says in which column a value is not finite, which the model cannot know."""
    if table.columns is not None and table.values.dim() == 2:
        owner = getattr(model, "network", model)
        rule_of = mixture_rule if owner is model else network_rule
        table.check_finite(rule_of(str(owner.missing)))


def _plain(tensor: Tensor) -> Tensor:
    """Returns values without the graph that made them, nor the mark of inference mode."""
    tensor = tensor.detach()
    return tensor.clone() if tensor.is_inference() else tensor
