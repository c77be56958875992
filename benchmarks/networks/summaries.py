"""Means over splits and data sets, and paired differences with their errors."""

import math
import statistics
from typing import Any, NamedTuple

__all__ = ["Difference", "compared", "differences", "mean_over_splits", "values"]


class Difference(NamedTuple):
    """How far one method is from another, on average over data sets.

    Attributes:
        mean: the mean over data sets of that over splits.
        error: its standard error, over data sets.
        above, below: on how many data sets it is more than twice its error over splits above, or
            below zero.
        count: the data sets that both were measured on.
    """

    mean: float
    error: float
    above: int
    below: int
    count: int


def values(run: dict[str, Any], study: str, *path: str) -> list[float]:
    """What was measured on each split of a data set; nothing, where it was not."""
    found = []
    for one in run["splits"]:
        at: Any = one[study]
        for key in path:
            at = at.get(key) if at else None
        if at is not None:
            found.append(at)
    return found


def mean_over_splits(run: dict[str, Any], study: str, *path: str) -> float:
    """The mean; NaN where nothing was measured."""
    found = values(run, study, *path)
    return statistics.mean(found) if found else math.nan


def differences(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """The mean of paired differences, and its standard error."""
    gaps = [one - other for one, other in zip(ours, theirs, strict=True)]
    return statistics.mean(gaps), statistics.stdev(gaps) / len(gaps) ** 0.5


def compared(
    data: dict[str, Any], study: str, ours: str, theirs: str, *path: str
) -> Difference | None:
    """One method less another; None where fewer than two data sets have both."""
    pairs = [
        (values(run, study, ours, *path), values(run, study, theirs, *path))
        for run in data.values()
    ]
    found = [differences(*pair) for pair in pairs if pair[0] and pair[1]]
    if len(found) < 2:
        return None
    means = [mean for mean, _ in found]
    above = sum(mean > 2 * error for mean, error in found)
    below = sum(mean < -2 * error for mean, error in found)
    error = statistics.stdev(means) / len(means) ** 0.5
    return Difference(statistics.mean(means), error, above, below, len(found))
