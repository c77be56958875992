"""What is known of one site of a Bayesian Gaussian mixture."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.distributions import constraints

__all__ = ["MixtureSite"]


@dataclass(frozen=True, eq=False)
class MixtureSite:
    """One site.

    Attributes:
        dims: what its dimensions are called.
        prior: its prior, or None if it is learned.
        start: where it starts.
        support: where it may go, if it is learned.
    """

    dims: tuple[str, ...]
    prior: Any
    start: Tensor
    support: constraints.Constraint
