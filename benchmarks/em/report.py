"""The tables of ``em.md``, from what ``em.json`` holds."""

import math
from typing import Any

from ..common.tables import table
from .cases import GMMX, OURS, SKLEARN
from .memmap import LIMIT_MB

__all__ = ["report", "time_text"]

_PAIRS = (
    (f"{OURS} float64", f"{SKLEARN} float64"),
    (f"{OURS} float32", f"{SKLEARN} float32"),
    (f"{OURS} float32", f"{GMMX} float32"),
)
_COLUMNS = tuple(dict.fromkeys(name for pair in _PAIRS for name in pair))
_SAME_LIKELIHOOD = 1e-6


def time_text(seconds: float) -> str:
    """Seconds in three digits and a unit."""
    value, unit = (seconds, "s") if seconds >= 1 else (seconds * 1e3, "ms")
    digits = max(0, 2 - math.floor(math.log10(max(value, 1e-9))))
    return f"{value:.{min(digits, 3)}f} {unit}"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _seconds(run: dict[str, Any]) -> float | None:
    """The time of a run that came to a result."""
    return None if "failure" in run else run.get("seconds")


def _cell(run: dict[str, Any] | None) -> str:
    if run is None:
        return ""
    if "failure" in run:
        failure = run["failure"]
        return failure if failure.startswith("over") else failure.split(":")[0]
    return time_text(run["seconds"])


def _ratio(point: dict[str, Any], ours: str, theirs: str) -> tuple[float, bool] | None:
    """Their time over ours, and whether that is only a lower bound since they ran over."""
    runs = point["runs"]
    if ours not in runs or theirs not in runs:
        return None
    mine, other = _seconds(runs[ours]), _seconds(runs[theirs])
    over = None if "hung" in runs[theirs] else runs[theirs].get("over_seconds")
    if mine is None or (other is None and over is None):
        return None
    return (over / mine, True) if other is None else (other / mine, False)


def _ratio_cell(found: tuple[float, bool] | None) -> str:
    return "" if found is None else f"{'> ' if found[1] else ''}{_number(found[0])}"


def _sizes(point: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {n:,}" for name, n in point["sizes"].items())


def _agreement(point: dict[str, Any]) -> str:
    found = point["agreement"]
    if point["action"] == "predict":
        return f"{100 * min(found.values()):.3f} %" if found else ""
    value = found.get(f"{SKLEARN} float64")
    return "" if value is None else f"{value:+.0e}" if value else "0"


def _sweep(section: dict[str, Any]) -> list[str]:
    header = ["N", "K", "D", _COLUMNS[0], _COLUMNS[1], "ratio", _COLUMNS[2], _COLUMNS[3], "ratio"]
    is_fit = section["points"][0]["action"] == "fit"
    said = "difference in log-likelihood, float64" if is_fit else "equal predictions, at least"
    header += [_COLUMNS[4], "ratio", said]
    rows, memory = [], []
    for point in section["points"]:
        sizes = [f"{n:,}" for n in point["sizes"].values()]
        cells = [_cell(point["runs"].get(name)) for name in _COLUMNS]
        ratios = [_ratio_cell(_ratio(point, *pair)) for pair in _PAIRS]
        row = [*cells[:2], ratios[0], *cells[2:4], ratios[1], cells[4], ratios[2]]
        rows.append([*sizes, *row, _agreement(point)])
        used = [point["runs"].get(name, {}).get("memory_mb") for name in _COLUMNS]
        memory.append([*sizes, *("" if value is None else f"{value:,.0f}" for value in used)])
    lines = [*table(header, rows), "", "Peak memory beyond the data, MB:", ""]
    return lines + table(["N", "K", "D", *_COLUMNS], memory) + _notes(section)


def _notes(section: dict[str, Any]) -> list[str]:
    """What failed, in words, and where results differ."""
    lines = []
    for point in section["points"]:
        for name, run in point["runs"].items():
            said = run.get("failure", "")
            if said and not said.startswith(("over", "not run")):
                lines.append(f"- {_sizes(point)}: {name}: {said}")
            if "remark" in run:
                lines.append(f"- {_sizes(point)}: {name}: {run['remark']}")
        value = point["agreement"].get(f"{SKLEARN} float64")
        if point["action"] == "fit" and value is not None and abs(value) > _SAME_LIKELIHOOD:
            said = f"{value:+.2g} per row at the end, more than {_SAME_LIKELIHOOD:g}"
            lines.append(f"- {_sizes(point)}: {SKLEARN}'s log-likelihood differs by {said}")
    return ["", *lines] if lines else []


def _headline(found: dict[str, Any]) -> list[str]:
    rows = []
    for point in found.get("headline", {}).get("points", []):
        for target in point["targets"]:
            ours, theirs = target["ours"], target["rival"]
            what = f"{point['action']} {ours.split()[-1]}, {_sizes(point)}, against {theirs}"
            ratio, is_floor = _ratio(point, ours, theirs), "products" in theirs
            if ratio is None:
                reached, verdict = "no result", "not known"
            elif is_floor:
                reached, met = _number(1 / ratio[0]), 1 / ratio[0] <= target["ratio"]
                verdict = "yes" if met else "no"
            else:
                reached = _ratio_cell(ratio)
                met = ratio[0] >= target["ratio"]
                verdict = "yes" if met else "not known" if ratio[1] else "no"
            aim = f"{'at most' if is_floor else 'at least'} {target['ratio']:g}"
            times = [_cell(point["runs"][name]) for name in (ours, theirs)]
            rows.append([what, *times, aim, reached, verdict])
    memmap = found.get("memmap")
    if memmap:
        what = f"EM over a memory map of {memmap['file_mb']:,.0f} MB float32, {_sizes(memmap)}, "
        what += f"{memmap['n_iter']} iterations: anonymous memory it adds"
        used = memmap.get("used_mb")
        reached = memmap.get("failure", "no result") if used is None else f"{used:.0f} MB"
        verdict = "not known" if used is None else "yes" if used < LIMIT_MB else "no"
        seconds = "" if "seconds" not in memmap else time_text(memmap["seconds"])
        rows.append([what, seconds, "", f"under {LIMIT_MB} MB", reached, verdict])
    header = ["", "ours", "theirs", "target", "reached", "met"]
    return ["## Targets", "", *table(header, rows), ""] if rows else []


def _not_faster(found: dict[str, Any]) -> str:
    """Names every point where we were not faster, or came to no result."""
    slower, compared, bounds, missing = [], 0, 0, 0
    for section in found.values():
        for point in section.get("points", []):
            for ours, theirs in _PAIRS:
                if ours not in point["runs"] or theirs not in point["runs"]:
                    continue
                where = f"{point['action']} {_sizes(point)} against {theirs}"
                ratio = _ratio(point, ours, theirs)
                if ratio is None:
                    if _seconds(point["runs"][ours]) is None:
                        slower.append(f"{where} (we: {point['runs'][ours]['failure']})")
                    else:
                        missing += 1
                    continue
                compared, bounds = compared + 1, bounds + ratio[1]
                if ratio[0] <= 1:
                    slower.append(f"{where} ({'> ' if ratio[1] else ''}{ratio[0]:.2f})")
    said = "; ".join(slower) if slower else "none"
    count = f"{compared} comparisons ({bounds} with a contender that ran over; {missing} more had "
    return f"Where we were not faster, of {count}no time of theirs): {said}."


def _setting(setting: dict[str, Any]) -> str:
    names = ("torch", "pyro-ppl", "numpy", "scikit-learn", "gmmx", "jax")
    versions = ", ".join(f"{name} {setting[name]}" for name in names)
    home = ""
    if "accelerator" in setting:
        home = f" and one {setting['accelerator']}, on which scikit-learn is not"
    return (
        f"{setting['processor']}, {setting['threads']} of {setting['cores']} cores{home}; "
        f"Python {setting['python']}, {versions}; limit {setting['limit_seconds']} s, "
        f"{setting['rounds']} rounds."
    )


def report(record: dict[str, Any], stem: str) -> str:
    """Returns the whole report as Markdown."""
    found = record["sections"]
    if not found:
        return "Nothing was measured yet.\n"
    settings = [section["setting"] for section in found.values()]
    common = max(settings, key=settings.count)
    dates = [p["date"] for s in found.values() for p in s.get("points", [s]) if "date" in p]
    when = " to ".join(dict.fromkeys(date[:10] for date in (min(dates), max(dates))))
    on_gpu = "accelerator" in common
    target, where = ("bench-gpu", ", on a GPU") if on_gpu else ("bench-em", "")
    lines = [
        f"# Gaussian mixtures: EM and prediction, full covariances{where}",
        "",
        f"{_setting(common)} {when}. `make {target}`",
        "",
        f"Fits are {common['n_iter']} iterations from the same start with tol = 0. Contenders run "
        f"in turn, {common['rounds']} times over unless that takes longer than the limit, each "
        "time in a new process, on data prepared in their own format, without their compilation. "
        "Times are medians over all processes, after a warm-up in each, which counts itself where "
        "it took over 20 s. "
        "A ratio is their time over ours in the same precision. Memory is the peak during the "
        "calls beyond what was held before (on a GPU, of the GPU), with what libraries load at "
        "their first call. *Over* a limit means ended at it, and that *it hung*, that it used the "
        "processor less than half of that time; larger points of the same sweep are then *not "
        "run*. A fit that ended before its last iteration has no time, since it did less. "
        "scikit-learn and we evaluate the log-likelihood once more at the end of a fit, GMMX "
        "does not.",
        "",
        *_headline(found),
        _not_faster(found),
        "",
    ]
    for action in ("predict", "fit"):
        if any(name.startswith(f"{action}-") for name in found):
            lines += [f"![Times of {action}]({stem}_{action}.png)", ""]
    for section in found.values():
        if not section.get("points"):
            continue
        lines += [f"## {section['title']}", ""]
        if section["setting"] != common:
            lines += [_setting(section["setting"]), ""]
        lines += [*(_sweep(section) if section.get("swept") else _headline_details(section)), ""]
    return "\n".join(lines).rstrip() + "\n"


def _headline_details(section: dict[str, Any]) -> list[str]:
    rows = [
        [
            f"{point['action']} {_sizes(point)}",
            name,
            _cell(run),
            f"{run['repetitions'] or 1} in {run['processes']}" if "seconds" in run else "",
            "" if "fastest" not in run else time_text(run["fastest"]),
            "" if "slowest" not in run else time_text(run["slowest"]),
            "" if "memory_mb" not in run else f"{run['memory_mb']:,.0f}",
        ]
        for point in section["points"]
        for name, run in point["runs"].items()
    ]
    header = ["", "", "median", "repetitions, processes", "fastest", "slowest", "memory, MB"]
    return table(header, rows) + _notes(section)
