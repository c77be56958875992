"""The parts of a mixture that EM leaves as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ..checks import check
from ..distributions import GaussianMixture

__all__ = ["NOTHING", "Frozen"]

_PARTS = ("weights", "means", "covariance")

_Choice = bool | tuple[int, ...]


@dataclass(frozen=True)
class Frozen:
    """Which weights, means and covariances stay where the start has them: of all, or some.

    Args:
        weights, means, covariance: True for all components, or the numbers of some.

    Raises:
        ValueError: if a part is unknown, or a component no whole number.
    """

    weights: _Choice = False
    means: _Choice = False
    covariance: _Choice = False

    @classmethod
    def of(cls, given: Any) -> Self:
        """Takes a dictionary of parts, or None."""
        if isinstance(given, cls):
            return given
        expected = f"a dictionary with some of {[*_PARTS]}, or None"
        check(given is None or isinstance(given, Mapping), "frozen", expected, type(given).__name__)
        given = dict(given or {})
        unknown = [name for name in given if name not in _PARTS]
        check(not unknown, "frozen", f"parts among {[*_PARTS]}", f"{unknown}")
        return cls(**{name: _choice(f"frozen[{name!r}]", value) for name, value in given.items()})

    def __bool__(self) -> bool:
        return any(self._is_chosen(name) for name in _PARTS)

    def _is_chosen(self, name: str) -> bool:
        return getattr(self, name) not in (False, ())

    def check_fits(self, start: GaussianMixture) -> None:
        """Checks that a start has these components."""
        n_components = start.n_components
        for name in _PARTS:
            chosen = getattr(self, name)
            beyond = [k for k in chosen or () if k >= n_components] if chosen is not True else []
            expected = f"components below {n_components}, of which there are so many"
            check(not beyond, f"frozen[{name!r}]", expected, f"{beyond}")
        is_whole = self.covariance is True or not self._is_chosen("covariance")
        expected = "True or False, as all components share a covariance"
        got = f"{self.covariance}"
        check(is_whole or not start.covariance.is_shared, "frozen['covariance']", expected, got)

    def mask(self, name: str, like: Tensor) -> Tensor:
        """Which components' part stays, ``(K,)``, on the device of weights ``(..., K)``."""
        chosen = getattr(self, name)
        mask = torch.zeros(like.shape[-1], dtype=torch.bool, device=like.device)
        mask[list(chosen) if isinstance(chosen, tuple) else slice(None)] = chosen is not False
        return mask

    def can_move(self, like: Tensor) -> Tensor:
        """Which components may be moved elsewhere as a whole, ``(K,)``."""
        if self._is_chosen("weights"):
            return torch.zeros_like(self.mask("weights", like))
        return ~(self.mask("means", like) | self.mask("covariance", like))

    def weights_beside(self, free: Tensor, before: Tensor) -> Tensor:
        """Puts weights ``(..., K)`` that stay among others, which share the rest.

        Args:
            free: what the weights would be.
            before: what they were.
        """
        stays = self.mask("weights", free)
        rest = (1 - torch.where(stays, before, 0).sum(-1, keepdim=True)).clamp(min=0)
        others = torch.where(stays, 0, free)
        total = others.sum(-1, keepdim=True).clamp(min=torch.finfo(free.dtype).tiny)
        return torch.where(stays, before, others * (rest / total))


NOTHING = Frozen()
"""All moves."""


def _choice(name: str, value: Any) -> _Choice:
    plain = value.tolist() if isinstance(value, Tensor | np.ndarray | np.generic) else value
    if isinstance(plain, bool):
        return plain
    expected = "True, False, or numbers of components"
    check(isinstance(plain, list | tuple | range | set), name, expected, repr(value))
    is_whole = all(isinstance(k, Integral) and not isinstance(k, bool) for k in plain)
    numbers = sorted({int(k) for k in plain}) if is_whole else [-1]
    check(not numbers or numbers[0] >= 0, name, expected, repr(value))
    return tuple(numbers)
