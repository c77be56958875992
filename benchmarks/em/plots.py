"""Times over sizes, a panel for each sweep."""

import os
from pathlib import Path
from typing import Any

from .cases import CONTENDERS, GMMX, OURS, SKLEARN

__all__ = ["plot"]

_COLORS = {OURS: "#0b62a4", SKLEARN: "#d9731a", GMMX: "#3b8f3b"}
_MARKERS = {OURS: "o", SKLEARN: "s", GMMX: "D"}
_MEANINGS = {"K": "components K", "D": "features D", "N": "rows N"}


def _panel(axes: Any, section: dict[str, Any]) -> bool:
    """Draws one sweep; returns whether somebody ran over."""
    swept, any_over = section["swept"], False
    for contender in CONTENDERS:
        color = _COLORS[contender.library]
        is_double = contender.precision == "float64"
        times, over = {}, {}
        for point in section["points"]:
            run = point["runs"].get(str(contender), {})
            if "failure" not in run and "seconds" in run:
                times[point["sizes"][swept]] = run["seconds"]
            elif "over_seconds" in run:
                over[point["sizes"][swept]] = run["over_seconds"]
        axes.plot(
            list(times),
            list(times.values()),
            color=color,
            linestyle="-" if is_double else "--",
            marker=_MARKERS[contender.library],
            markersize=4.5,
            markerfacecolor=color if is_double else "white",
            linewidth=2 if contender.library == OURS else 1.4,
            zorder=3 if contender.library == OURS else 2,
            label=str(contender),
        )
        axes.plot(
            list(over), list(over.values()), color=color, marker="^", markersize=9, linestyle=""
        )
        any_over = any_over or bool(over)
    values = [point["sizes"][swept] for point in section["points"]]
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"{value:,}" for value in values])
    axes.xaxis.minorticks_off()
    if values[-1] > 9999:
        axes.tick_params(axis="x", labelrotation=30)
    fixed = {name: n for name, n in section["points"][0]["sizes"].items() if name != swept}
    axes.set_title(", ".join(f"{name} = {n:,}" for name, n in fixed.items()), fontsize=11)
    axes.set_xlabel(_MEANINGS[swept])
    axes.grid(True, color="#e2e2e2", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    return any_over


def plot(record: dict[str, Any], group: str, path: Path) -> None:
    """Draws the sweeps of a group that were measured; nothing if none was."""
    found = [s for n, s in record["sections"].items() if n.startswith(f"{group}-") and s["points"]]
    if not found:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        1,
        len(found),
        figsize=(4.6 * len(found), 4.4),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    over = [_panel(axes, section) for axes, section in zip(panels[0], found, strict=True)]
    panels[0, 0].set_ylabel("seconds")
    if any(len(line.get_xdata()) for axes in panels[0] for line in axes.lines):
        panels[0, 0].set_yscale("log")
    setting = found[0]["setting"]
    action = found[0]["points"][0]["action"]
    iterations = f", {setting['n_iter']} iterations" if action == "fit" else ""
    home = setting.get("accelerator") or f"{setting['processor']}, threads: {setting['threads']}"
    size = 12 if panels.size > 1 else 9
    figure.suptitle(f"Full covariances, {action}{iterations}: {home}", fontsize=size)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    if any(over):
        (mark,) = panels[0, 0].plot([], [], color="#777777", marker="^", markersize=9, linestyle="")
        handles, labels = [*handles, mark], [*labels, f"over {setting['limit_seconds']} s"]
    figure.legend(handles, labels, loc="outside lower center", ncols=2 * panels.size, frameon=False)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=150, format="png")
    plt.close(figure)
    os.replace(temporary, path)
