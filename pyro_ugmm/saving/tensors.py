"""Whether a file's tensors are what it says that they are."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..checks import check

__all__ = ["check_shape", "check_tensors", "load_state"]

_POSITIVE = ("spread", "start_variance")


def check_tensors(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """Checks that tensors hold numbers of a dtype, which are finite, or -inf among logits.

    Raises:
        ValueError: if one does not; the message names it.
    """
    for name, tensor in tensors.items():
        check(tensor.dtype == dtype, name, f"{dtype}, as the file says", tensor.dtype)
        valid, expected = tensor.isfinite(), "finite values"
        if name.endswith("logits"):
            valid, expected = valid | (tensor == -math.inf), "finite values or -inf"
        elif name.endswith(_POSITIVE):
            valid, expected = valid & (tensor > 0), "finite positive values"
        check(valid.all(), name, expected, f"{int((~valid).sum())} others of {tensor.numel()}")


def check_shape(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> None:
    """Checks that there is a tensor of this name and shape."""
    held = tuple(tensors[name].shape) if name in tensors else "none"
    check(held == shape, name, f"a tensor of shape {shape}, as the description says", held)


def load_state(module: torch.nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Loads what a file holds of a module, under names with a prefix.

    Raises:
        ValueError: if a tensor is missing, unknown, or of another shape; the message names it.
    """
    state = module.state_dict()
    for name, own in state.items():
        check_shape(tensors, prefix + name, tuple(own.shape))
    held = {name for name in tensors if name.startswith(prefix)}
    unknown = sorted(held - {prefix + name for name in state})
    check(not unknown, "tensors", f"none but those of a {type(module).__name__}", unknown)
    module.load_state_dict({name: tensors[prefix + name] for name in state})
