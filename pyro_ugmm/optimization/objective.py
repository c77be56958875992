"""What a descent minimizes."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Objective"]


@dataclass(frozen=True, eq=False)
class Objective:
    """A loss, and what it depends on.

    Attributes:
        loss_of_rows: the loss of the full data, estimated from rows.
        parameters: what to learn, by name.
        title: what it is to minimize this.
        diagnose: says which part of the loss of rows is not finite, if it can tell.
    """

    loss_of_rows: Callable[..., Tensor]
    parameters: dict[str, Tensor]
    title: str
    diagnose: Callable[..., str | None]
