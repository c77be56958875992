"""Measures one contender at one point, in a process of its own: time, memory and outcome.

``measure`` starts that process; ``combine`` makes one result of several processes'.
"""

import json
import math
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..common.children import run_child
from ..common.devices import memory_mb, reset_peak
from .cases import N_ITER, Contender, Point, make_problem
from .contenders import Prepared, prepare

__all__ = ["combine", "measure"]

_MOST_REPETITIONS = 3
_MOST_OF_SHORT_ONES = 15
_LONG_WARM_UP = 20.0
_SHORTEST_TIMED = 0.05
_SETUP_SECONDS = 120


def measure(
    contender: Contender, point: Point, *, device: str, threads: int, limit: int, predictions: Path
) -> dict[str, Any]:
    """Measures in a new process; ``predictions`` is where they are left.

    Returns ``times``, ``memory_mb`` and more, or a ``failure`` in words; ``over_seconds`` where
    one call took longer than the limit, ``hung`` where it did nothing; ``ran_over`` where larger
    points need not be tried.
    """
    spec = {
        "contender": [contender.library, contender.precision],
        "point": [point.action, point.n_rows, point.n_components, point.n_features],
        "enough_seconds": point.enough_seconds,
        "device": device,
        "limit": limit,
        "predictions": str(predictions),
    }
    # The process ends itself at the limit; the patience is for one that cannot even start.
    found = run_child("benchmarks.em.measure", spec, threads, limit + 3 * _SETUP_SECONDS)
    stage, busy = found.pop("over", None), found.pop("busy_seconds", 0.0)
    if stage == "running":
        found |= {"failure": f"over {limit} s", "over_seconds": limit, "ran_over": True}
        if busy < limit / 2:  # of processor time, the start included: it waits for itself
            found |= {"failure": f"over {limit} s, idle: it hung", "hung": True}
    elif stage is not None and "warm_up" not in found:
        found |= {"failure": f"over {_SETUP_SECONDS} s while {stage}", "ran_over": True}
    elif stage is not None:
        found["remark"] = f"over {limit} s with repetitions and checks, which were cut short"
    return found


def combine(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Makes one result of several: the median of all times, and the most memory."""
    found: dict[str, Any] = {}
    for run in runs:
        found |= run
    found.pop("times", None)
    warm_ups = [run["warm_up"] for run in runs if "warm_up" in run]
    times = [seconds for run in runs for seconds in run.get("times", ())]
    if warm_ups:
        found["warm_up"] = min(warm_ups)
        found["seconds"] = statistics.median(times or warm_ups)
        found |= {"fastest": min(times or warm_ups), "slowest": max(times or warm_ups)}
        found |= {"repetitions": len(times), "processes": len(runs)}
        found["memory_mb"] = max(run["memory_mb"] for run in runs if "memory_mb" in run)
    return found


def _report(**found: Any) -> None:
    print(json.dumps(found), flush=True)


def _timed(call: Callable[[], Any], number: int = 1) -> tuple[float, Any]:
    result = None
    started = time.perf_counter()
    for _ in range(number):
        result = call()
    return (time.perf_counter() - started) / number, result


class _UnfinishedError(Exception):
    """A fit that ended before its last iteration."""


def _check_progress(n_iter: int, log_likelihood: float) -> None:
    """Reports a fit's iterations; raises if it ended early, since that takes less time."""
    _report(n_iter=n_iter)
    if n_iter != N_ITER:
        words = f"stopped after {n_iter} of {N_ITER} iterations"
        raise _UnfinishedError(f"{words}: the log-likelihood was {log_likelihood:.6g}")


def _measured(prepared: Prepared, limit: int, enough_seconds: float) -> Any:
    """Warms up, repeats, reports time and memory, and returns the last result."""
    peak = prepared.device_peak
    before = peak() / 1e6 if peak else reset_peak()

    def used() -> float:
        return (peak() / 1e6 if peak else memory_mb("VmHWM")) - before

    signal.alarm(limit)  # anew: one call has the whole limit
    _report(stage="running")
    started = time.perf_counter()
    warm_up, result = _timed(prepared.call)
    _report(stage="repeating", warm_up=warm_up, memory_mb=used())
    if prepared.progress:
        _check_progress(*prepared.progress(result))
    if warm_up > _LONG_WARM_UP:
        return result
    number, most = 1, _MOST_REPETITIONS
    if warm_up < 1.0:  # it may have been slow only because it was the first
        once, result = _timed(prepared.call)
        number = max(1, math.ceil(_SHORTEST_TIMED / max(once, 1e-6)))
        most = _MOST_REPETITIONS if number == 1 else _MOST_OF_SHORT_ONES
    times: list[float] = []
    while len(times) < most and sum(times) * number < enough_seconds:
        if times and time.perf_counter() - started + max(times) * number > 0.9 * limit:
            break
        seconds, result = _timed(prepared.call, number)
        times.append(seconds)
    _report(
        stage="checking",
        times=times,
        calls_per_repetition=number,
        memory_mb=used(),
    )
    return result


def _check(found: dict[str, Any], predictions: str) -> None:
    """Reports what came out, and in words where that is no result."""
    if "predictions" in found:
        np.save(predictions, found.pop("predictions").astype(np.int32))
    value = found.get("log_likelihood", 0.0)
    if not math.isfinite(value):
        found |= {"log_likelihood": None, "failure": f"the log-likelihood is {value} at the end"}
    _report(**found)


def main() -> None:
    """Measures what the argument says."""
    spec = json.loads(sys.argv[1])
    contender, point = Contender(*spec["contender"]), Point(*spec["point"])
    try:
        problem = make_problem(point)
        _report(stage="preparing or compiling")
        signal.alarm(_SETUP_SECONDS)
        prepared = prepare(contender, point, problem, spec["device"])
        del problem
        result = _measured(prepared, spec["limit"], spec["enough_seconds"])
        _check(prepared.outcome(result), spec["predictions"])
    except _UnfinishedError as error:
        _report(failure=str(error))
    except Exception as error:
        words = (str(error).strip().splitlines() or ["no message"])[0]
        _report(failure=f"{type(error).__name__}: {words[:300]}")


if __name__ == "__main__":
    main()
