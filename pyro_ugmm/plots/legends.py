"""Where a legend goes: into a corner that is free, or else below the axes."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .style import SMALL, wrapped

__all__ = ["add_legend"]

_PLACES = {
    "upper right": (1, 1),
    "upper left": (0, 1),
    "lower right": (1, 0),
    "lower left": (0, 0),
    "upper center": (0.5, 1),
    "lower center": (0.5, 0),
}
_MARGIN = 0.03  # of the axes
_MOST_ROOM = 0.7  # of the axes
_MOST_COLUMNS, _LENGTHS = 6, (240, 170, 130)  # points, of lines
_MOST_WIDTH = 1.1  # of the axes, of a legend below them
_FINE, _WITHIN = 200, 9
_GAP = 5  # points


def add_legend(ax: Any, outside: str | None = None, *, inside: bool = True) -> None:
    """Adds a legend that covers nothing, where it takes the least of the axes.

    It goes into a corner where nothing is drawn; else below the axes, in as many columns as fit,
    beside them, or above what is drawn in axes that are made higher. A figure without a layout has
    room for the last alone.

    Args:
        ax: the axes, which have their labels.
        outside: ``"below"`` or ``"beside"``, if outside it may be there alone.
        inside: whether it may be within the axes; not over a map.
    """
    handles, labels = ax.get_legend_handles_labels()
    if not labels:
        return
    ax.autoscale_view()  # what is drawn has its scale
    points, areas = _drawn(ax) if inside else (np.empty((0, 2)), [])
    options = [
        {"handles": handles, "labels": [wrapped(label, length, SMALL) for label in labels]}
        for length in _LENGTHS
    ]
    legend, width, height = _sized(ax, options[0], 1)
    free = [p for p in _PLACES if inside and _is_free(_box(p, width, height), points, areas)]
    if free:
        legend.set_loc(free[0])
        return
    has_room = ax.figure.get_layout_engine() is not None
    may_grow = inside and len(ax.get_shared_y_axes().get_siblings(ax)) == 1
    ways = []
    for one in options:
        columns, wide, flat = _widest(ax, one)
        if not has_room or may_grow:
            ways.append((_lost_above(ax, points, wide, flat), _put_above, one, columns))
        if has_room and outside != "beside":
            ways.append((flat, _put_below, one, columns))
        if has_room and outside != "below":
            ways.append((_sized(ax, one, 1)[1], _put_beside, one, columns))
    _, put, one, columns = min(ways, key=lambda way: way[0])
    put(ax, one, columns, points)


def _sized(ax: Any, options: dict[str, Any], ncols: int, **place: Any) -> tuple[Any, float, float]:
    """A legend of so many columns, and its size in shares of the axes."""
    style = {"fontsize": SMALL, "framealpha": 0.9, "edgecolor": "none", "columnspacing": 1.2}
    style |= {"handlelength": 1.6}
    legend = ax.legend(**options, **style, **({"loc": "upper right"} | place), ncols=ncols)
    size, inner = legend.get_window_extent(), ax.get_window_extent()
    return legend, size.width / inner.width, size.height / inner.height


def _widest(ax: Any, options: dict[str, Any]) -> tuple[int, float, float]:
    """The most columns that fit, and the size of a legend of as many."""
    for ncols in range(min(_MOST_COLUMNS, len(options["labels"])), 1, -1):
        _, width, height = _sized(ax, options, ncols)
        if width <= _MOST_WIDTH:
            return ncols, width, height
    return 1, *_sized(ax, options, 1)[1:]


def _put_below(ax: Any, options: dict[str, Any], ncols: int, points: np.ndarray) -> None:
    """Puts the legend below the axes' label."""
    from matplotlib.transforms import ScaledTranslation

    figure, tight = ax.figure, ax.xaxis.get_tightbbox()
    depth = (ax.bbox.y0 - (tight.y0 if tight else ax.bbox.y0)) / figure.dpi + _GAP / 72
    moved = ax.transAxes + ScaledTranslation(0, -depth, figure.dpi_scale_trans)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": moved}
    _sized(ax, options, ncols, borderaxespad=0, **place)


def _put_beside(ax: Any, options: dict[str, Any], ncols: int, points: np.ndarray) -> None:
    """Puts the legend to the right of the axes, in one column."""
    _sized(ax, options, 1, loc="upper left", bbox_to_anchor=(1, 1))


def _put_above(ax: Any, options: dict[str, Any], ncols: int, points: np.ndarray) -> None:
    """Raises the axes' upper limit until a legend is free in an upper corner."""
    legend, width, height = _sized(ax, options, ncols)
    corner, peak = _lowest_peak(points, width)
    legend.set_loc(corner)
    stretch = max(1.0, peak / (1 - min(height, _MOST_ROOM) - _MARGIN))
    scale = ax.yaxis.get_transform()
    low, high = scale.transform(ax.get_ylim())
    ax.set_ylim(top=scale.inverted().transform([low + stretch * (high - low)])[0])


def _lost_above(ax: Any, points: np.ndarray, width: float, height: float) -> float:
    """The share of the axes that a legend above what is drawn takes."""
    if ax.yaxis_inverted() or height > _MOST_ROOM:
        return 1.0
    return max(0.0, 1 - (1 - height - _MARGIN) / max(_lowest_peak(points, width)[1], 1e-9))


def _lowest_peak(points: np.ndarray, width: float) -> tuple[str, float]:
    """The upper corner below which less is drawn, and how high that is."""
    x, y = points.T
    corners = {"upper right": x > 1 - width - _MARGIN, "upper left": x < width + _MARGIN}
    peaks = {corner: float(y[within].max(initial=0)) for corner, within in corners.items()}
    corner = min(peaks, key=lambda corner: peaks[corner])
    return corner, peaks[corner]


def _box(place: str, width: float, height: float) -> tuple[float, float, float, float]:
    """Where a legend would be, with some room around it, in shares of the axes."""
    right, top = _PLACES[place]
    x, y = right * (1 - width), top * (1 - height)
    return x - _MARGIN, x + width + _MARGIN, y - _MARGIN, y + height + _MARGIN


def _is_free(box: tuple[float, ...], points: np.ndarray, areas: list[Any]) -> bool:
    """Whether nothing is drawn within a box, and it is not within an area."""
    left, right, low, high = box
    if right - left > 1 + 2 * _MARGIN or high - low > 1 + 2 * _MARGIN:
        return False
    x, y = points.T
    if ((x > left) & (x < right) & (y > low) & (y < high)).any():
        return False
    ends = np.linspace(left, right, _WITHIN), np.linspace(low, high, _WITHIN)
    within = np.stack(np.meshgrid(*ends), -1).reshape(-1, 2)
    return not any(area.contains_points(within).any() for area in areas)


def _drawn(ax: Any) -> tuple[np.ndarray, list[Any]]:
    """Points of what is drawn, ``(n, 2)``, and areas that are filled, in shares of the axes."""
    from matplotlib.collections import PathCollection
    from matplotlib.contour import ContourSet

    to_axes = ax.transAxes.inverted()
    outlines, areas, marks = [], [], [np.empty((0, 2))]
    for line in ax.lines:
        outlines.append(line.get_path().transformed(line.get_transform() + to_axes))
    for patch in ax.patches:
        path = patch.get_path().transformed(patch.get_transform() + to_axes)
        outlines.append(path)
        areas += [path] if patch.get_fill() else []
    for part in ax.collections:
        if isinstance(part, PathCollection):
            marks.append(
                np.ma.filled(part.get_offset_transform().transform(part.get_offsets()), np.nan)
            )
        elif not isinstance(part, ContourSet):  # which may be covered
            paths = [one.transformed(part.get_transform() + to_axes) for one in part.get_paths()]
            outlines += paths
            areas += paths if len(part.get_facecolor()) else []
    for text in ax.texts:
        corners = text.get_window_extent().get_points()
        marks.append(np.stack(np.meshgrid(*corners.T), -1).reshape(-1, 2))
    points = [to_axes.transform(np.concatenate(marks)), *_refined(outlines)]
    found = np.concatenate(points)
    return found[np.isfinite(found).all(1)], areas


def _refined(paths: Iterable[Any]) -> list[np.ndarray]:
    """Points along paths, more of them where they are few."""
    found = []
    for path in paths:
        for line in path.to_polygons(closed_only=False):
            at = np.arange(len(line))
            finer = np.linspace(0, len(line) - 1, max(len(line), _FINE))
            found.append(np.stack([np.interp(finer, at, line[:, d]) for d in (0, 1)], 1))
    return found
