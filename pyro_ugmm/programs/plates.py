"""The plates around a program's sites."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pyro.poutine.subsample_messenger import SubsampleMessenger
from torch import Tensor

__all__ = ["Term", "by_plate", "plates_of", "whole_plates"]


class Term(NamedTuple):
    """What an observed site adds to the log joint density: a dimension for each of its plates."""

    value: Tensor
    plates: tuple[str, ...]


def plates_of(node: Mapping[str, Any]) -> list[Any]:
    """The frames of a site's plates that are dimensions, from left to right."""
    frames = [frame for frame in node["cond_indep_stack"] if frame.vectorized]
    return sorted(frames, key=lambda frame: frame.dim)


def by_plate(value: Tensor, frames: list[Any]) -> Term:
    """Gives values of a site's batch shape a dimension for each plate, and no others."""
    shape = [1] * max(value.dim(), -min((frame.dim for frame in frames), default=0))
    for frame in frames:
        shape[frame.dim] = frame.size
    sizes = [frame.size for frame in frames]
    return Term(value.expand(shape).reshape(sizes), tuple(frame.name for frame in frames))


@contextlib.contextmanager
def whole_plates() -> Iterator[None]:
    """Within, plates that would draw a subsample take all that they have.

    Pyro takes the size of a subsample from the plate itself, so no handler can change it.
    """
    original = SubsampleMessenger._subsample

    def whole(
        name: str, size: int | None = None, subsample_size: Any = None, subsample: Any = None, *rest
    ) -> Any:
        if subsample is None and size is not None:
            subsample_size = None
        return original(name, size, subsample_size, subsample, *rest)

    SubsampleMessenger._subsample = staticmethod(whole)
    try:
        yield
    finally:
        SubsampleMessenger._subsample = staticmethod(original)
