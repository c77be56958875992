"""What a description, as JSON holds it, says: checks of its fields and numbers."""

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

from .checks import check

__all__ = ["check_fields", "is_number"]


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and no truth value."""
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    return is_real and math.isfinite(float(value))


def check_fields(name: str, given: Any, expected: Iterable[str]) -> None:
    """Checks that a description has these fields and no other."""
    fields = sorted(expected)
    wanted, got = f"the fields {fields}", type(given).__name__
    check(isinstance(given, Mapping), name, wanted, got)
    missing, unknown = sorted({*fields} - {*given}), sorted({*given} - {*fields})
    got = f"none of {missing}" if missing else f"{unknown}, too"
    check(not missing and not unknown, name, wanted, got)
