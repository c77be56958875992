"""Checks of arguments: each error names the argument, what was expected and what came."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .tracking import is_recorded, known_to_hold

__all__ = [
    "check",
    "check_broadcast",
    "check_choice",
    "check_device",
    "check_flag",
    "check_floating",
    "check_integer",
    "check_number",
    "check_precision",
    "check_same_kind",
    "check_seed",
    "check_values",
    "kind_of",
]

_MOST_SHOWN = 200


def check(condition: Any, name: str, expected: str, got: Any) -> None:
    """Raises a ``ValueError`` in the project's one wording unless ``condition`` holds."""
    if not condition:
        shown = got if isinstance(got, str) else _shown(got, str)
        raise ValueError(f"{name}: expected {expected}, got {shown}")


def kind_of(value: Any) -> str:
    """Names the class of what came, or the class that came itself."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _is_flag(value: Any) -> bool:
    """Whether a value is a truth value, which Python and torch would count as a number."""
    return isinstance(value, bool | np.bool_) or getattr(value, "dtype", None) == torch.bool


def _shown(value: Any, in_words: Callable[[Any], str] = repr) -> str:
    """A value in one line of an error: large ones, such as data frames, by their kind."""
    text = in_words(value)
    return text if len(text) <= _MOST_SHOWN and "\n" not in text else type(value).__name__


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Checks that ``value`` is one of some words, and returns it."""
    words = list(choices)
    if not (isinstance(value, str) and value in words):
        check(False, name, f"one of {', '.join(map(repr, words))}", _shown(value))
    return str(value)


def check_device(name: str, value: Any) -> torch.device | None:
    """Checks that ``value`` is a device that can be used here, or ``None``; returns it."""
    if value is None:
        return None
    try:
        device = torch.device(value)
        torch.empty(0, device=device)
    except (RuntimeError, TypeError, AssertionError) as error:  # torch raises all three
        reason = str(error).partition("\n")[0]
        expected = "a torch device that can be used here, or None"
        raise ValueError(f"{name}: expected {expected}, got {_shown(value)}: {reason}") from None
    return device


def check_flag(name: str, value: Any) -> bool:
    """Checks that ``value`` is a truth value, and returns a ``bool``."""
    valid = isinstance(value, bool | np.bool_)
    check(valid, name, "True or False", _shown(value))
    return bool(value)


def check_integer(name: str, value: Any, minimum: int = 1) -> int:
    """Checks that ``value`` is a whole number of at least ``minimum``, and returns an ``int``.

    NumPy's and torch's scalars are numbers too. What is kept is what is returned: files, names and
    indices take no other kind.
    """
    expected = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
    valid = not _is_flag(value) and getattr(value, "ndim", 0) == 0
    try:
        integer = operator.index(value) if valid else minimum - 1
    except (TypeError, ValueError):  # torch raises both
        integer = minimum - 1
    check(integer >= minimum, name, expected, _shown(value))
    return integer


def check_seed(name: str, value: Any) -> int | None:
    """Checks that ``value`` is a seed of torch's generators, or ``None``; returns an ``int``."""
    if value is None:
        return None
    seed = check_integer(name, value, minimum=0)
    check(seed < 2**63, name, "an integer from 0 to 2**63 - 1, or None", _shown(value))
    return seed


def check_number(name: str, value: Any, valid: Callable[[float], bool], expected: str) -> float:
    """Checks that ``value`` is one real number for which ``valid`` holds; returns a ``float``."""
    is_array = isinstance(value, Tensor | np.ndarray) and value.ndim == 0
    number = value.item() if is_array else value
    is_number = isinstance(number, Real) and not _is_flag(value)
    try:
        real = float(number) if is_number else math.nan
    except OverflowError:  # an integer beyond all floating-point numbers
        is_number, real = False, math.nan
    check(is_number and valid(real), name, expected, _shown(value))
    return real


def check_broadcast(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Checks that batch shapes broadcast to one."""
    for i in range(1, 1 + max([len(shape) for shape in shapes.values()])):  # torch takes its time
        sizes = [shape[-i] for shape in shapes.values() if len(shape) >= i and shape[-i] != 1]
        if any(size != sizes[0] for size in sizes):
            given = {name: tuple(shape) for name, shape in shapes.items()}
            check(False, ", ".join(given), "batch shapes that broadcast", given)


def check_floating(name: str, tensor: Any) -> None:
    """Checks that ``tensor`` is a tensor of floating-point numbers."""
    check(isinstance(tensor, Tensor), name, "a torch tensor", type(tensor).__name__)
    check(
        tensor.is_floating_point(),
        name,
        "floating-point numbers (convert with .to(torch.get_default_dtype()))",
        tensor.dtype,
    )


def check_precision(name: str, tensor: Any) -> None:
    """Checks that ``tensor`` is one of numbers with digits enough for densities."""
    check_floating(name, tensor)
    expected = "torch.float32 or torch.float64 (half precision has too few digits)"
    check(tensor.dtype in (torch.float32, torch.float64), name, expected, tensor.dtype)


def check_same_kind(tensors: Mapping[str, Tensor]) -> None:
    """Checks that all ``tensors`` share the dtype and device of the first."""
    (first_name, first), *others = tensors.items()
    for name, tensor in others:
        if tensor.dtype == first.dtype and tensor.device == first.device:
            continue  # to put words together takes as long as a small layer
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
    """Checks that ``valid`` is true everywhere; the error counts and locates what is not.

    Nothing is checked while a graph is recorded.
    """
    if is_recorded() or known_to_hold(valid):
        return
    invalid = ~valid
    index = tuple(int(i) for i in invalid.nonzero()[0])
    where = f" at index {index}" if index else ""
    raise ValueError(
        f"{name}: expected {expected}, got {tensor[index].item()}{where} "
        f"({int(invalid.sum())} of {tensor.numel()} values are invalid)"
    )
