"""Where gradients can be had, whatever the caller's mode."""

import contextlib
from collections.abc import Iterator

import torch

from .models.derived import DerivedModule

__all__ = ["trainable"]


@contextlib.contextmanager
def trainable(*modules: torch.nn.Module) -> Iterator[None]:
    """Leaves ``no_grad`` and ``inference_mode``, also for modules that were made within it."""
    with torch.inference_mode(False), torch.enable_grad():
        for module in modules:
            _renew(module)
        yield


def _renew(module: torch.nn.Module) -> None:
    """Takes the mark of inference mode off a module's tensors, which autograd would refuse."""
    held = [*module.parameters(), *module.buffers()]
    marked = [tensor for tensor in held if tensor.is_inference()]
    for tensor in marked:
        tensor.data = tensor.detach().clone()
    for part in module.modules():
        if isinstance(part, DerivedModule) and marked:
            part._kept = None
