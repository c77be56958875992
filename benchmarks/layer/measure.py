"""The time and memory of one contender at one size."""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

from ..common.devices import Device
from .contenders import Contender, Size, make_tensors

__all__ = ["measure"]

_ENOUGH_SECONDS, _MOST_REPETITIONS = 1.5, 15
_SHORTEST_TIMED = 2e-3


def _seconds(function: Callable[[], Any], device: Device, number: int) -> float:
    """The time of one call of several in a row, until the device has done them all."""
    device.synchronize()
    started = time.perf_counter()
    for _ in range(number):
        function()
    device.synchronize()
    return (time.perf_counter() - started) / number


def _median_seconds(function: Callable[[], Any], device: Device) -> float:
    """Repeats, several calls at a time where one is short."""
    once = _seconds(function, device, 1)
    number = max(1, math.ceil(_SHORTEST_TIMED / max(once, 1e-7)))
    times: list[float] = []
    while len(times) < _MOST_REPETITIONS and sum(times) * number < _ENOUGH_SECONDS:
        times.append(_seconds(function, device, number))
    return statistics.median(times)


def measure(
    contender: Contender, size: Size, device: Device, offset: float = 0.0
) -> dict[str, Any]:
    """Measures in seconds, and MB beyond what was held before; or says what failed."""
    found: dict[str, Any] = {}
    try:
        calls = contender.calls(make_tensors(size, device.kind, offset))
        for name, function in calls.items():
            function()  # compiles, and fills caches
            found[f"{name}_mb"] = device.peak_mb(function)
            found[name] = _median_seconds(function, device)
    except Exception as error:
        words = (str(error).strip().splitlines() or ["no message"])[0]
        return {"failure": f"{type(error).__name__}: {words[:200]}"}
    return found
