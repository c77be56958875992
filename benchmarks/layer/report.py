"""The tables and the picture of a layer's times."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..common.tables import table
from .contenders import BASELINE, FAR, HEADLINE, OURS, TEXTBOOK

__all__ = ["milliseconds", "plot", "report"]


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds, in three digits or so."""
    value = 1e3 * seconds
    return f"{value:.3f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _megabytes(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else "under 1"


def _ratio(runs: dict[str, Any], key: str) -> str:
    """The textbook's figure over ours, if that is enough to be divided by."""
    ours, theirs = (runs[name].get(key) for name in (OURS, TEXTBOOK))
    is_known = ours is not None and theirs is not None and (key != "both_mb" or ours >= 1)
    return f"{theirs / max(ours, 1e-9):.1f}" if is_known else ""


def _times(record: dict[str, Any], key: str, shown: Callable[[float], str]) -> list[str]:
    names, rows = record["contenders"], []
    for size, runs in {tuple(p["size"]): p["runs"] for p in record["points"]}.items():
        cells = []
        for name in names:
            run = runs.get(name, {})
            cells.append(shown(run[key]) if key in run else "failed" if "failure" in run else "")
        rows.append([" x ".join(f"{n:,}" for n in size), *cells, _ratio(runs, key)])
    lines = table(["", *names, "textbook / ours"], rows)
    return [lines[0].replace("|  |", "| rows x inputs x neurons |", 1), *lines[1:]]


def _failures(record: dict[str, Any]) -> list[str]:
    lines = [
        f"- {' x '.join(f'{n:,}' for n in point['size'])}: {name}: {run['failure']}"
        for point in record["points"]
        for name, run in point["runs"].items()
        if "failure" in run
    ]
    return [*dict.fromkeys(lines), ""] if lines else []


def report(record: dict[str, Any]) -> str:
    """Returns the results as Markdown."""
    lines = [f"# {record['title']}", "", f"{record['setting']} `{record['command']}`", ""]
    for title, key, shown in (
        ("Forward and backward, ms", "both", milliseconds),
        ("Forward alone, ms", "forward", milliseconds),
        ("Peak memory of forward and backward, MB", "both_mb", _megabytes),
    ):
        lines += [f"## {title}", "", *_times(record, key, shown), ""]
    lines += _failures(record)
    if "far" in record:
        lines += [
            f"Inputs {FAR:g} away from all means, so that every term of every row underflows, take "
            f"{record['far']:.2f} times as long at {' x '.join(map(str, HEADLINE))}.",
            "",
        ]
    return "\n".join(lines)


def plot(record: dict[str, Any], path: Path) -> None:
    """Draws the sweeps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    swept = {"rows": 0, "inputs": 1, "neurons": 2}
    names = [name for name in swept if any(p["sweep"] == name for p in record["points"])]
    if not names:
        return
    layout: dict[str, Any] = {"figsize": (4.6 * len(names), 4.4), "layout": "constrained"}
    figure, axes = plt.subplots(1, len(names), sharey=True, squeeze=False, **layout)
    for ax, name in zip(axes[0], names, strict=True):
        points = [point for point in record["points"] if point["sweep"] == name]
        for i, contender in enumerate(record["contenders"]):
            known = [point for point in points if "both" in point["runs"].get(contender, {})]
            style = "--" if contender in BASELINE else "-"
            ax.loglog(
                [point["size"][swept[name]] for point in known],
                [1e3 * point["runs"][contender]["both"] for point in known],
                style,
                marker="o",
                markersize=4,
                color=f"C{i}",
                linewidth=2.4 if contender == OURS else 1.2,
                label=contender,
            )
        sizes = [point["size"][swept[name]] for point in points]
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
        ax.minorticks_off()
        ax.set(xlabel=name)
        ax.grid(alpha=0.3)
    axes[0][0].set_ylabel("forward and backward, ms")
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2 * len(names)
    )
    title = f"256 rows, 784 inputs, 128 neurons, and one of them varied: {record['home']}"
    figure.suptitle(title, fontsize=12 if len(names) > 1 else 8)
    figure.savefig(path, dpi=110)
