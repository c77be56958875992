"""A page of pictures."""

import math
import statistics
from pathlib import Path
from typing import Any

from .contenders import BOOSTED, CONTENDERS, LOGISTIC, OURS
from .measure import MEASURES
from .report import KINDS, WAYS, auc_of, has_gaps
from .studies import FEW_ROWS, LEARNERS
from .summaries import compared, mean_over_splits

__all__ = ["plot"]

_COLORS = {name: f"C{i}" for i, name in enumerate(CONTENDERS)} | {LOGISTIC: "black"}
_MARKERS = dict.fromkeys(CONTENDERS, "s") | dict.fromkeys(OURS, "o")
_TICKS = (-1, -0.3, -0.1, -0.03, -0.01, 0, 0.01, 0.03, 0.1, 0.3, 1)
_LINEAR = 0.03  # the width in which differences are drawn to scale


def plot(record: dict[str, Any], path: Path) -> None:
    """Draws the studies: differences by data set, and means over data sets."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(16, 10), layout="constrained")
    data, settings = record["data"], record["settings"]
    for ax, measure in zip(axes[0], MEASURES, strict=True):
        _by_data(ax, data, measure)
    _strange(axes[1, 0], data)
    _gaps(axes[1, 1], data, settings["gaps"])
    _few(axes[1, 2], data, settings["sizes"])
    for ax in axes.flat:
        ax.grid(True, color="#e8e8e8", linewidth=0.6)
        ax.set_axisbelow(True)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _place(i: int, count: int) -> float:
    """The place of one of several marks in a row."""
    return 0.7 * ((i + 0.5) / count - 0.5)


def _by_data(ax: Any, data: dict[str, Any], measure: str) -> None:
    """A row for each data set, a mark for each method."""
    for i, method in enumerate(CONTENDERS):
        if method == LOGISTIC:
            continue
        gaps = [
            mean_over_splits(run, "all rows", method, measure)
            - mean_over_splits(run, "all rows", LOGISTIC, measure)
            for run in data.values()
        ]
        at = [row + _place(i, len(CONTENDERS)) for row in range(len(data))]
        look = {"color": _COLORS[method], "marker": _MARKERS[method], "linestyle": "none"}
        ax.plot(gaps, at, label=method, markersize=5, **look)
    ax.axvline(0, color="0.4", linewidth=1)
    low, high = (1.3 * end for end in ax.dataLim.intervalx)
    ax.set_xlim(low, high)
    ax.set_xscale("symlog", linthresh=_LINEAR, linscale=1.5)
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(data)), list(data))
    ax.invert_yaxis()
    side = "right" if measure == "accuracy" else "left"
    title = f"{MEASURES[measure]} ({side} is better)"
    ax.set(xlabel="less logistic regression's", title=title)


def _strange(ax: Any, data: dict[str, Any]) -> None:
    """A row for each kind, a mark for each method: means over the data sets that have it."""
    methods = [name for name in CONTENDERS if name != OURS[-1]]
    for i, method in enumerate(methods):
        means = [
            [one for run in data.values() if not math.isnan(one := auc_of(run, method, kind))]
            for kind in KINDS
        ]
        at = [row + _place(i, len(methods)) for row in range(len(KINDS))]
        known = [statistics.mean(some) if some else math.nan for some in means]
        look = {"color": _COLORS[method], "marker": _MARKERS[method], "linestyle": "none"}
        ax.plot(known, at, markersize=5, **look)
    ax.set_yticks(range(len(KINDS)), KINDS)
    ax.invert_yaxis()
    ax.axvline(0.5, color="0.4", linewidth=1)
    ax.set(xlabel="AUC of entropy", title="strange inputs (black: logistic regression)")


def _gaps(ax: Any, data: dict[str, Any], gaps: list[float]) -> None:
    """Log-loss by the share of missing inputs."""
    some = [run for run in data.values() if has_gaps(run)]
    for way in WAYS if some else ():
        means = [
            statistics.mean(
                mean_over_splits(run, "missing inputs", way, f"{gap:g}", "log_loss") for run in some
            )
            for gap in gaps
        ]
        style = "-" if way.startswith("network") else "--"
        color = {"color": "0.3"} if way == BOOSTED else {}
        ax.plot([100 * gap for gap in gaps], means, style, marker=".", label=way, **color)
    ax.set(xlabel="% of inputs missing", ylabel="log-loss", title="missing inputs")
    ax.legend(fontsize="small")


def _few(ax: Any, data: dict[str, Any], sizes: list[int]) -> None:
    """Log-loss by the number of training rows, less logistic regression's."""
    for method in (name for name in LEARNERS if name != LOGISTIC):
        found = {
            size: compared(data, FEW_ROWS, method, LOGISTIC, str(size), "log_loss")
            for size in sizes
        }
        known = {size: one for size, one in found.items() if one}
        at = [size * (1 + _place([*LEARNERS].index(method), len(LEARNERS)) / 4) for size in known]
        means, errors = [one.mean for one in known.values()], [one.error for one in known.values()]
        look = {"color": _COLORS[method], "marker": _MARKERS[method], "markersize": 4}
        ax.errorbar(at, means, yerr=errors, **look)
    ax.axhline(0, color="0.4", linewidth=1)
    ax.set_xlim(0.7 * sizes[0], 1.5 * sizes[-1])
    ax.set_xscale("log")
    ax.set(
        xlabel="training rows",
        ylabel="log-loss, less logistic regression's",
        title="few rows (bars: standard errors over data sets)",
    )
