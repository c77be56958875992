"""Who follows a computation: a gradient, a graph that is recorded, or Pyro's dependencies."""

import torch
from torch import Tensor

__all__ = ["is_recorded", "is_tracked", "known_to_hold"]

_PLAIN = (Tensor, torch.nn.Parameter)


def is_recorded() -> bool:
    """Whether a graph is being recorded, whose branches must not depend on numbers."""
    return torch.compiler.is_compiling() or torch._C._is_tracing()


def is_tracked(*tensors: Tensor) -> bool:
    """Whether somebody follows what is done to tensors, so that nothing may be written in place.

    These are ``torch.compile``, tracing, ``torch.func``, forward-mode differentiation, and the
    subclasses of tensors, such as those by which Pyro finds what depends on what.
    """
    return (
        is_recorded()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch.autograd.forward_ad._current_level >= 0
        or any(type(tensor) not in _PLAIN for tensor in tensors)
    )


def known_to_hold(condition: Tensor) -> bool:
    """Whether a condition holds everywhere, so that the general way may be left out.

    While a graph is recorded it is not known: the graph is for other numbers, too.
    """
    if is_recorded():
        return False
    return condition.is_meta or bool(torch._is_all_true(condition))  # which vmap knows
