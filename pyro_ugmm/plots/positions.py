"""Which features, neurons or parameters a plot is asked for."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..checks import check, check_integer

__all__ = ["check_names", "check_pair", "check_place", "check_position"]


def check_place(
    name: str,
    value: Any,
    shape: Sequence[int],
    expected: str,
    names: Sequence[str] | None = None,
) -> tuple[int, ...]:
    """Checks that ``value`` is a place in an array, and returns as many ``int``.

    Args:
        name: the argument.
        value: one number for each dimension; a number alone will do for one.
        shape: the array's.
        expected: what is expected, in words.
        names: of the positions, which will do in place of their numbers.
    """
    is_many = isinstance(value, Iterable) and getattr(value, "ndim", 1) > 0
    given = [*value] if is_many and not isinstance(value, str) else [value]
    if names is not None:
        expected = f"{expected}, or by name, such as {names[0]!r}"
        known = {one: i for i, one in enumerate(names) if names.count(one) == 1}
        given = [known.get(one, one) if isinstance(one, str) else one for one in given]
    check(len(given) == len(shape), name, expected, repr(value))
    try:
        place = tuple(check_integer(name, one, minimum=0) for one in given)
    except ValueError:
        place = tuple(shape)
    inside = all(i < size for i, size in zip(place, shape, strict=True))
    check(inside, name, expected, repr(value))
    return place


def check_names(name: str, values: Any, defaults: Sequence[str], what: str) -> list[Any]:
    """Returns the names given, one for each of some things, or else the defaults."""
    expected = f"{len(defaults)} names, one for each {what}"
    is_many = values is None or isinstance(values, Iterable)
    check(is_many, name, expected, type(values).__name__)
    chosen = [*(defaults if values is None else values)]
    check(len(chosen) == len(defaults), name, expected, chosen)
    return chosen


def check_position(
    name: str, value: Any, size: int, what: str = "one of", names: Sequence[str] | None = None
) -> int:
    """Checks that ``value`` is a position among ``size``, and returns an ``int``."""
    return check_place(name, value, (size,), f"{what} 0 to {size - 1}", names)[0]


def check_pair(
    name: str, values: Any, size: int, names: Sequence[str] | None = None
) -> tuple[int, int]:
    """Checks that ``values`` are two different positions among ``size``; returns two ``int``."""
    expected = f"two different ones of 0 to {size - 1}"
    first, second = check_place(name, values, (size, size), expected, names)
    check(first != second, name, expected, repr(values))
    return first, second
