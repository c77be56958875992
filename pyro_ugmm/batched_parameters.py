"""Modules of one form as one, with a dimension for each of them before its parameters'."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch

__all__ = ["batched"]


def batched(modules: Sequence[torch.nn.Module]) -> torch.nn.Module:
    """Returns a module like the first, with parameters ``(S, 1)`` and their shapes.

    The modules differ in the values of parameters alone, and are left as they are; the buffers are
    the first one's.

    Example:
        >>> import torch
        >>> from pyro_ugmm.batched_parameters import batched
        >>> from pyro_ugmm.nn import UGMMLayer
        >>> layers = [UGMMLayer(4, 3) for _ in range(5)]
        >>> batched(layers)(torch.zeros(10, 4)).shape
        torch.Size([5, 10, 3])
    """
    of_each = [dict(module.named_parameters()) for module in modules]
    together = {}
    for name, first in of_each[0].items():
        values = torch.stack([own[name].detach() for own in of_each]).unsqueeze(1)
        together[first] = torch.nn.Parameter(values, first.requires_grad)
    return _with_parameters(modules[0], together)


def _with_parameters(
    module: torch.nn.Module, parameters: Mapping[Any, torch.nn.Parameter]
) -> torch.nn.Module:
    """A copy that shares all with the module but its parameters."""
    other = copy.copy(module)
    own, parts = module._parameters.items(), module._modules.items()
    other.__dict__["_parameters"] = {name: parameters.get(p, p) for name, p in own}
    other.__dict__["_modules"] = {
        name: part and _with_parameters(part, parameters) for name, part in parts
    }
    return other
