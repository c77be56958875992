"""Where particles start, and what of that floating-point numbers cannot hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..programs.coordinates import Coordinates

__all__ = ["Lost", "Start"]

_LITTLE = 0.01


@dataclass(frozen=True)
class Lost:
    """The mass beyond the numbers: draws on the edge of a support, or all the same.

    Attributes:
        site: of which most is lost.
        share: of its draws.
        weight: that the posterior gives to the draws nearest to what is lost.
    """

    site: str = ""
    share: float = 0.0
    weight: float = 0.0

    @property
    def is_little(self) -> bool:
        """Whether the evidence does not miss it."""
        return self.share <= _LITTLE

    @property
    def is_missed(self) -> bool:
        """Whether the posterior misses it."""
        return not self.is_little and self.weight > _LITTLE


@dataclass(frozen=True, eq=False)
class Start:
    """Draws from the density at temperature zero.

    Attributes:
        position: shape ``(S, n)``.
        at_edge: which are nearest to what is lost, shape ``(S,)``.
        lost: what is missing of the density.
    """

    position: Tensor
    at_edge: Tensor
    lost: Lost

    @classmethod
    def among(cls, drawn: Tensor, count: int, coordinates: Coordinates) -> Start:
        """Takes the first that are finite of positions drawn, ``(R, n)``."""
        inside = drawn.isfinite()
        position = drawn[inside.all(-1)][:count]
        same = position == position.mode(0).values
        lost = (~inside).double().mean(0) + same.double().mean(0) - 1 / len(position)
        ends = (position == position.amin(0)) | (position == position.amax(0))
        by_site = coordinates.split(lost.unsqueeze(0))
        shares = {name: float(share.max()) for name, share in by_site.items() if share.numel()}
        worst = max(shares, key=lambda name: shares[name])
        at_edge = ((same | ends) & (lost > _LITTLE)).any(-1)
        return cls(position, at_edge, Lost(worst, shares[worst]))

    def weighed(self, increments: Tensor) -> Start:
        """Notes what the posterior makes of the draws, by their log density ratios ``(S,)``."""
        weight = float(increments.double().softmax(0)[self.at_edge].sum())
        return replace(self, lost=replace(self.lost, weight=weight))

    def state(self) -> dict[str, Any]:
        """Itself as tensors, numbers and words, for a checkpoint."""
        return {**vars(self), "lost": dict(vars(self.lost))}

    @classmethod
    def of(cls, state: dict[str, Any], device: torch.device) -> Start:
        """Takes what :meth:`state` returned."""
        position, at_edge = state["position"].to(device), state["at_edge"].to(device)
        return cls(position, at_edge, Lost(**state["lost"]))
