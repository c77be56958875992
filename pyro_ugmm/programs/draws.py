"""Functions of one draw, of which many are wanted: they never see two at a time."""

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.distributions import Distribution

__all__ = ["evaluated", "repeated"]

_MOST_VALUES = 1 << 22


def evaluated(
    function: Callable[[dict[str, Tensor]], Any], draws: Mapping[str, Tensor], values_per_draw: int
) -> Any:
    """Evaluates a function of one draw under many at once, by ``vmap``, or else in a loop.

    Args:
        function: of values by site; returns tensors in dictionaries or tuples, and nothing in it
            is random.
        draws: values by site, with a first dimension for draws.
        values_per_draw: how many numbers the function holds for each draw.
    """
    n_draws = len(next(iter(draws.values())))
    size = max(1, min(_MOST_VALUES // max(values_per_draw, 1), n_draws))
    with _without_validation():
        while True:
            try:
                return torch.vmap(function, randomness="same", chunk_size=size)(dict(draws))
            except (RuntimeError, TypeError, ValueError) as error:
                if not _wants_memory(error):
                    reason = re.split(r"\. |\n", str(error))[0]
                    break  # what is wrong with it for one draw, the loop says
                if size == 1:
                    raise
            size //= 2
        values = [
            function({site: value[i] for site, value in draws.items()}) for i in range(n_draws)
        ]
    said = "torch.vmap cannot run the model, so its draws are evaluated one after the other"
    warnings.warn(f"{said}: {reason}", stacklevel=2)
    return _stacked(values)


def _wants_memory(error: Exception) -> bool:
    """Whether an error is of memory: on a CPU, torch has no class for it."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def repeated(function: Callable[[int], Any], count: int) -> Any:
    """Runs what is random, such as a program, so many times; ``vmap`` cannot draw in place.

    Args:
        function: of the number of the run; returns tensors in dictionaries or tuples.
        count: how often.

    Returns:
        What it returns, with a first dimension for runs.
    """
    with pyro.validation_enabled(False):
        return _stacked([function(i) for i in range(count)])


def _stacked(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.stack([*values])
    if isinstance(first, Mapping):
        return {key: _stacked([one[key] for one in values]) for key in first}
    return tuple(_stacked(parts) for parts in zip(*values, strict=True))


@contextlib.contextmanager
def _without_validation() -> Iterator[None]:
    """Also of values under distributions made before, which ``vmap`` cannot do in older torch."""
    validate = Distribution._validate_sample
    Distribution._validate_sample = lambda *_: None  # type: ignore[method-assign]
    try:
        with pyro.validation_enabled(False):
            yield
    finally:
        Distribution._validate_sample = validate  # type: ignore[method-assign]
