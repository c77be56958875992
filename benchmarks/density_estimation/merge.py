"""Results of a later run, put beside those of an earlier one."""

import math
from typing import Any

from .contenders import BASELINE, CONTENDERS

__all__ = ["merged"]

_SAME = ("n_splits", "machine", "threads", "torch", "sklearn")


def merged(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Adds a run's methods to those of a record with the same data, splits and settings.

    The baseline was measured in both, and has to come to the same. What the earlier record says of
    it stays, and times of the later run are in units of the baseline's in that.

    Raises:
        ValueError: if the runs are not of the same, or the baseline came to something else.
    """
    known = before["settings"]
    if any(before[name] != after[name] for name in _SAME) or any(
        after["settings"][name] != value for name, value in known.items()
    ):
        raise ValueError("keep: expected a record of the same settings, machine and versions")
    if _data(before) != _data(after):
        raise ValueError("keep: expected a record of the same data")
    added = [name for name in after["methods"] if name != BASELINE]
    for variant, runs in after["sections"].items():
        for name, run in runs.items():
            _check_baseline(before["sections"][variant][name], run, f"{variant}, {name}")
            _add(before["sections"][variant][name], run, added)
    kept = {*before["methods"], *added}
    later = sorted({*before.get("measured_later", []), *added})
    order = [name for name in CONTENDERS if name in kept]
    settings = after["settings"]
    return before | {"methods": order, "measured_later": later, "settings": settings}


def _data(record: dict[str, Any]) -> dict[str, list[str]]:
    return {variant: list(runs) for variant, runs in record["sections"].items()}


def _seconds(run: dict[str, Any]) -> float:
    return sum(split["methods"][BASELINE]["seconds"] for split in run["splits"])


def _check_baseline(before: dict[str, Any], after: dict[str, Any], where: str) -> None:
    for old, new in zip(before["splits"], after["splits"], strict=True):
        means = [split["methods"][BASELINE]["mean"] for split in (old, new)]
        if not math.isclose(*means, rel_tol=1e-6):
            raise ValueError(f"keep: {BASELINE} came to {means[1]} on {where}, and to {means[0]}")


def _add(before: dict[str, Any], after: dict[str, Any], added: list[str]) -> None:
    unit = _seconds(before) / _seconds(after)
    for old, new in zip(before["splits"], after["splits"], strict=True):
        for method in added:
            one = new["methods"][method]
            old["methods"][method] = one | {"seconds": one["seconds"] * unit}
