"""Families of Pyro's distributions that numbers alone tell apart: written in words, and read."""

import inspect
from typing import Any

import pyro.distributions as dist
import torch

from ..checks import check
from ..descriptions import check_fields, is_number

__all__ = ["describe", "parameters_of", "restore", "show"]

_ALTERNATIVES = {"probs", "logits"}  # of which a distribution is given one
_REFUSALS = (AssertionError, AttributeError, RuntimeError, TypeError, ValueError)  # Pyro's


def parameters_of(family: Any) -> tuple[str, ...]:
    """Names the numbers that a family of univariate distributions is given by, if numbers do.

    Example:
        >>> import pyro.distributions as dist
        >>> from pyro_ugmm.models.families import parameters_of
        >>> parameters_of(dist.StudentT), parameters_of(dist.Wishart)
        (('df', 'loc', 'scale'), ())
    """
    names = [*_arguments_of(family)] if _is_univariate(family) else []
    return () if {*names} >= _ALTERNATIVES else tuple(names)


def _is_univariate(family: Any) -> bool:
    """Whether it is a class of ``pyro.distributions`` with scalar values, as far as it tells."""
    if not (isinstance(family, type) and issubclass(family, torch.distributions.Distribution)):
        return False
    try:
        is_scalar = getattr(family.support, "event_dim", 0) == 0
    except NotImplementedError:  # as it depends on parameters
        is_scalar = True
    return is_scalar and getattr(dist, family.__name__, None) is family


def _arguments_of(family: type) -> dict[str, inspect.Parameter]:
    arguments = dict(inspect.signature(family).parameters)
    arguments.pop("validate_args", None)
    return {name: one for name, one in arguments.items() if not isinstance(one.default, str)}


def describe(distribution: Any) -> dict[str, Any] | None:
    """Says what a distribution is, as JSON can hold it; None if numbers do not tell."""
    family = type(distribution)
    names = parameters_of(family)
    try:
        parameters = {name: float(getattr(distribution, name)) for name in names}
        family(**parameters)
    except _REFUSALS:  # as where it is made of another distribution
        return None
    return {"kind": family.__name__, "parameters": parameters} if names else None


def show(distribution: Any) -> str:
    """Shows a distribution as torch does, with its parameters for every family.

    Example:
        >>> import pyro.distributions as dist
        >>> from pyro_ugmm.models.families import show
        >>> show(dist.LogNormal(0.0, 1.0))
        'LogNormal(loc: 0.0, scale: 1.0)'
    """
    known = describe(distribution)
    if known is None:
        return str(distribution)
    parameters = (f"{name}: {value}" for name, value in known["parameters"].items())
    return f"{known['kind']}({', '.join(parameters)})"


def restore(name: str, description: Any) -> Any:
    """Makes a distribution of what :func:`describe` said.

    Raises:
        ValueError: if it said nothing like that; the message names the field after ``name``.
    """
    check_fields(name, description, ("kind", "parameters"))
    kind, parameters = description["kind"], description["parameters"]
    family = getattr(dist, kind, None) if isinstance(kind, str) else None
    expected = "one of pyro.distributions, given by numbers"
    check(parameters_of(family), f"{name}.kind", expected, repr(kind))
    check_fields(f"{name}.parameters", parameters, parameters_of(family))
    for parameter, value in parameters.items():
        check(is_number(value), f"{name}.parameters.{parameter}", "a number", repr(value))
    try:
        return family(**parameters, validate_args=True)  # type: ignore[misc]
    except _REFUSALS as error:
        raise ValueError(f"{name}: expected parameters of {kind}, got {error}") from None
