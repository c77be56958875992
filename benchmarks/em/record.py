"""The results of EM so far, by section and point."""

import datetime
import json
from pathlib import Path
from typing import Any

from ..common.results import write_results
from .cases import Section, sections
from .plots import plot
from .report import report

__all__ = ["Record", "today"]


def today() -> str:
    """The date and the time, in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class Record:
    """The results so far, written whole after every point."""

    def __init__(self, path: Path, now: dict[str, Any]) -> None:
        self._path, self._now = path, now
        self.contents: dict[str, Any] = {"sections": {}}
        if path.exists():
            self.contents = json.loads(path.read_text())

    def points(self, section: Section) -> list[dict[str, Any]]:
        """Returns the list of a section's points, less those measured in another setting."""
        kept = self.contents["sections"].get(section.name, {})
        points = kept.get("points", []) if kept.get("setting") == self._now else []
        sizes = [point.sizes for point in section.points]
        points = [point for point in points if point["sizes"] in sizes]
        entry = {"title": section.title, "swept": section.swept, "setting": self._now}
        self.contents["sections"][section.name] = {**entry, "points": points}
        return points

    def put(self, section: Section, result: dict[str, Any]) -> None:
        """Adds a point, or replaces it, and saves."""
        points = self.contents["sections"][section.name]["points"]
        order = [(point.action, point.sizes) for point in section.points]
        key = (result["action"], result["sizes"])
        points[:] = [p for p in points if (p["action"], p["sizes"]) != key] + [result]
        points.sort(key=lambda p: order.index((p["action"], p["sizes"])))
        self.save()

    def save(self) -> None:
        """Writes JSON and tables."""
        order = [section.name for section in sections(quick=False)] + ["memmap"]
        found = self.contents["sections"]
        self.contents["sections"] = {name: found[name] for name in order if name in found}
        stem = self._path.stem
        write_results(self._path.parent, stem, self.contents, report(self.contents, stem))

    def plot(self) -> None:
        """Draws the sweeps."""
        for group in ("predict", "fit", "small"):
            path = self._path.with_name(f"{self._path.stem}_{group}.png")
            plot(self.contents, group, path)
