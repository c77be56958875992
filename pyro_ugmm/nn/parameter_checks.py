"""What values the parameters of a layer may have."""

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from ..checks import check, check_broadcast, check_floating, check_same_kind, check_values

__all__ = ["PARAMETERS", "check_parameter", "check_stand_ins"]


def _check_loc(value: Tensor, min_scale: float) -> None:
    check_values("loc", value, value.isfinite(), "finite values")


def _check_scale(value: Tensor, min_scale: float) -> None:
    valid = value.isfinite() & (value > min_scale)
    check_values("scale", value, valid, f"finite values above min_scale={min_scale}")


def _check_logits(value: Tensor, min_scale: float) -> None:
    check_values("logits", value, value < math.inf, "finite values or -inf")


PARAMETERS: dict[str, Callable[[Tensor, float], None]] = {
    "loc": _check_loc,
    "scale": _check_scale,
    "logits": _check_logits,
}
"""What is checked of the values of each parameter, by name."""


def check_parameter(name: str, value: Tensor, shape: tuple[int, int], min_scale: float) -> None:
    """Checks the shape and values of a parameter of a layer."""
    check_floating(name, value)
    check(value.shape == shape, name, f"shape {shape}", tuple(value.shape))
    PARAMETERS[name](value, min_scale)


def check_stand_ins(x: Tensor, given: Mapping[str, Tensor], shape: tuple[int, int]) -> None:
    """Checks the shapes of what stands in for parameters, with any leading dimensions."""
    for name, value in given.items():
        fits, expected = value.shape[-2:] == shape, f"shape (..., {shape[0]}, {shape[1]})"
        check(fits, name, expected, tuple(value.shape))
    check_same_kind({"x": x, **given})
    batches = {name: value.shape[:-2] for name, value in given.items()}
    check_broadcast({"x": x.shape[:-1], **batches})
