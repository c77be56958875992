"""What distribution does for a prior over one number."""

from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import biject_to

from ..checks import check
from .families import describe, restore

__all__ = ["UnivariatePrior"]


@dataclass(frozen=True)
class UnivariatePrior:
    """A distribution over a support, or None for no prior.

    Args:
        support: what it is to be over, in words.
        inside: values that its support must have.
        outside: values that it must not have.
    """

    support: str
    inside: tuple[float, ...] = ()
    outside: tuple[float, ...] = ()

    def checked(self, name: str, value: Any) -> Any:
        """Checks a prior, and returns it."""
        if value is None:
            return None
        _check_kind(name, value)
        points = _points_of(name, value)
        got = f"{value} with support {value.support}"
        check(self._covers(value.support, points), name, f"a distribution over {self.support}", got)
        _check_density(name, value, points)
        return value

    def _covers(self, support: Any, points: Tensor) -> bool:
        holds = support.check
        return (
            all(holds(torch.tensor(point)) for point in self.inside)
            and not any(holds(torch.tensor(point)) for point in self.outside)
            and (float(points[0]) > 0 or not self.outside)
        )

    def described(self, name: str, value: Any) -> dict[str, Any] | None:
        """Describes a prior as JSON can hold it."""
        if value is None:
            return None
        description = describe(value)
        expected = "one of pyro.distributions, given by numbers"
        check(description is not None, name, expected, str(value))
        return description

    def restored(self, name: str, description: Any, dtype: torch.dtype) -> Any:
        """Makes a prior of its description."""
        return None if description is None else restore(name, description)


def _check_kind(name: str, value: Any) -> None:
    """Checks that it is a distribution of Pyro's over one continuous number."""
    kind = type(value)
    got = f"{kind.__module__}.{kind.__name__}".removeprefix("builtins.")
    is_pyros = isinstance(value, dist.Distribution)
    check(is_pyros, name, "one of pyro.distributions, or None", got)
    shape = (tuple(value.batch_shape), tuple(value.event_shape))
    expected = "one univariate distribution (batch_shape and event_shape ())"
    check(shape == ((), ()), name, expected, f"batch_shape, event_shape {shape}")
    check(not value.support.is_discrete, name, "a continuous distribution", str(value))


def _points_of(name: str, distribution: Any) -> Tensor:
    """Some points of a support, its middle first."""
    try:
        return biject_to(distribution.support)(torch.tensor([0.0, 1.0]))
    except NotImplementedError:
        expected = "a distribution whose support has a bijection to the reals"
        raise ValueError(f"{name}: expected {expected}, got {distribution}") from None


def _check_density(name: str, value: Any, points: Tensor) -> None:
    density = value.log_prob(points)
    got = f"{value}, with log densities {density.tolist()} at {points.tolist()}"
    check(density.isfinite().all(), name, "a distribution with a density", got)
    expected = "a distribution of fixed parameters"
    check(not density.requires_grad, name, expected, "one whose tensors require gradients")
