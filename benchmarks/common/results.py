"""How results are written."""

import json
from pathlib import Path
from typing import Any

from pyro_ugmm.files import write_atomically

__all__ = ["stem_for", "write_results"]


def stem_for(name: str, device: str) -> str:
    """The name of a benchmark's files, which is another one on a GPU."""
    return name if device == "cpu" else f"{name}_{device}"


def write_results(folder: Path, stem: str, record: dict[str, Any], text: str) -> None:
    """Writes the record as JSON and the text as Markdown, each seen whole or not at all."""
    write_atomically(folder / f"{stem}.json", (json.dumps(record, indent=1) + "\n").encode())
    write_atomically(folder / f"{stem}.md", text.encode())
