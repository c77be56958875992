"""Which features, neurons or parameters a plot is asked for."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..checks import check, check_integer

__all__ = ["check_names", "check_pair", "check_place", "check_position"]


def check_place(name: str, value: Any, shape: Sequence[int], expected: str) -> tuple[int, ...]:
    """Checks that ``value`` is a place in an array, and returns as many ``int``.

    Args:
        name: the argument.
        value: one number for each dimension; a number alone will do for one.
        shape: the array's.
        expected: what is expected, in words.
    """
    is_many = isinstance(value, Iterable) and getattr(value, "ndim", 1) > 0
    given = [*value] if is_many and not isinstance(value, str) else [value]
    check(len(given) == len(shape), name, expected, value)
    try:
        found = tuple(check_integer(name, one, minimum=0) for one in given)
    except ValueError:
        found = tuple(shape)
    check(all(i < size for i, size in zip(found, shape, strict=True)), name, expected, value)
    return found


def check_names(name: str, values: Any, defaults: Sequence[str], what: str) -> list[Any]:
    """Returns the names given, one for each of some things, or else the defaults."""
    expected = f"{len(defaults)} names, one for each {what}"
    is_many = values is None or isinstance(values, Iterable)
    check(is_many, name, expected, type(values).__name__)
    found = [*(defaults if values is None else values)]
    check(len(found) == len(defaults), name, expected, found)
    return found


def check_position(name: str, value: Any, size: int, what: str = "one of") -> int:
    """Checks that ``value`` is a position among ``size``, and returns an ``int``."""
    return check_place(name, value, (size,), f"{what} 0 to {size - 1}")[0]


def check_pair(name: str, values: Any, size: int) -> tuple[int, int]:
    """Checks that ``values`` are two different positions among ``size``; returns two ``int``."""
    expected = f"two different ones of 0 to {size - 1}"
    first, second = check_place(name, values, (size, size), expected)
    check(first != second, name, expected, values)
    return first, second
