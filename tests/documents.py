"""The code in Markdown files, and how it is run."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def python_blocks(path: Path) -> list[str]:
    """The blocks that are marked as Python, each at the line where it stands, for tracebacks."""
    text = path.read_text()
    found = re.finditer(r"^```python\n(.*?)^```", text, re.S | re.M)
    return ["\n" * text[: block.start(1)].count("\n") + block[1] for block in found]


def run(block: str, path: Path, scope: dict) -> dict:
    """Runs a block in a scope, which it returns."""
    exec(compile(block, str(path), "exec"), scope)
    return scope
