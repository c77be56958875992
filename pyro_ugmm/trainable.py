"""Where gradients can be had, whatever the caller's mode."""

import contextlib
from collections.abc import Callable, Iterator

import torch

from .models.derived_module import DerivedModule
from .nn.local_parameters import kept_contexts

__all__ = ["trainable"]


@contextlib.contextmanager
def trainable(*programs: Callable) -> Iterator[None]:
    """Leaves ``no_grad`` and ``inference_mode``, also for modules that were made within it.

    An interrupt within leaves the modules as usable as before. What is no module is passed over.
    """
    modules = [program for program in programs if isinstance(program, torch.nn.Module)]
    with torch.inference_mode(False), torch.enable_grad(), kept_contexts(*modules):
        for module in modules:
            _renew(module)
        yield


def _renew(module: torch.nn.Module) -> None:
    """Takes the mark of inference mode off a module's tensors, which autograd would refuse."""
    renewed: dict[int, torch.Tensor] = {}
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None and tensor.is_inference():
                    held[name] = renewed.setdefault(id(tensor), _unmarked(tensor))  # type: ignore
        if isinstance(part, DerivedModule):
            part.forget()


def _unmarked(tensor: torch.Tensor) -> torch.Tensor:
    copy = tensor.detach().clone()
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(copy, tensor.requires_grad)
    return copy
