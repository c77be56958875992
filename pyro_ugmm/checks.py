"""Checks of arguments: each error names the argument, what was expected and what came."""

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "check",
    "check_broadcast",
    "check_floating",
    "check_integer",
    "check_number",
    "check_same_kind",
    "check_values",
]


def check(condition: Any, name: str, expected: str, got: Any) -> None:
    """Raises a ``ValueError`` in the project's one wording unless ``condition`` holds."""
    if not condition:
        raise ValueError(f"{name}: expected {expected}, got {got}")


def check_integer(name: str, value: Any, minimum: int = 1) -> None:
    """Checks that ``value`` is a whole number of at least ``minimum``."""
    expected = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
    check(isinstance(value, Integral) and int(value) >= minimum, name, expected, repr(value))


def check_number(name: str, value: Any, valid: Callable[[float], bool], expected: str) -> None:
    """Checks that ``value`` is one real number for which ``valid`` holds."""
    check(isinstance(value, Real) and valid(float(value)), name, expected, repr(value))


def check_broadcast(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Checks that batch shapes broadcast to one."""
    try:
        torch.broadcast_shapes(*shapes.values())
    except RuntimeError:
        given = {name: tuple(shape) for name, shape in shapes.items()}
        raise ValueError(
            f"{', '.join(given)}: expected batch shapes that broadcast, got {given}"
        ) from None


def check_floating(name: str, tensor: Any) -> None:
    """Checks that ``tensor`` is a tensor of floating-point numbers."""
    check(isinstance(tensor, Tensor), name, "a torch tensor", type(tensor).__name__)
    check(
        tensor.is_floating_point(),
        name,
        "floating-point numbers (convert with .to(torch.get_default_dtype()))",
        tensor.dtype,
    )


def check_same_kind(tensors: Mapping[str, Tensor]) -> None:
    """Checks that all ``tensors`` share the dtype and device of the first."""
    (first_name, first), *others = tensors.items()
    for name, tensor in others:
        check(
            tensor.dtype == first.dtype, name, f"{first.dtype}, as {first_name} has", tensor.dtype
        )
        check(
            tensor.device == first.device,
            name,
            f"device {first.device}, where {first_name} is",
            f"device {tensor.device}",
        )


def check_values(name: str, tensor: Tensor, valid: Tensor, expected: str) -> None:
    """Checks that ``valid`` is true everywhere; the error counts and locates what is not."""
    if valid.is_meta or torch._is_all_true(valid):  # which vmap knows
        return
    invalid = ~valid
    index = tuple(int(i) for i in invalid.nonzero()[0])
    where = f" at index {index}" if index else ""
    raise ValueError(
        f"{name}: expected {expected}, got {tensor[index].item()}{where} "
        f"({int(invalid.sum())} of {tensor.numel()} values are invalid)"
    )
