"""The C compiler: which one, and what it is told."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

__all__ = ["NO_COMPILER", "SECONDS", "SOURCES", "compile_to", "find_compiler"]

SOURCES = [
    Path(__file__).with_name(name)
    for name in (
        "mixture_layer.c",
        "mixture_layer.inc",
        "mixture_layer_wide.inc",
        "mixture_layer_narrow.inc",
    )
]
_FLAGS = ["-O3", "-march=native", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math"]
_FLAGS += ["-ffp-contract=fast"]
# Each is tried until one compiles: gcc's loops are vectorized only without this optimization.
_VARIANTS = [["-fopenmp", "-fno-tree-pre"], ["-fopenmp"], []]
SECONDS = 120
NO_COMPILER = "there is no C compiler (cc or gcc, or the one that CC names)"


def find_compiler() -> tuple[list[str], str]:
    """Returns the command of the C compiler, or why there is none."""
    named = os.environ.get("CC", "")
    try:
        command = [part for part in shlex.split(named) if part]
    except ValueError as error:
        return [], f"CC={named!r} names no compiler: {error}"
    command = command or [path for path in (shutil.which("cc"), shutil.which("gcc")) if path][:1]
    return command, "" if command else NO_COMPILER


def compile_to(compiler: list[str], path: Path) -> str:
    """Compiles to a file; returns what went wrong."""
    said = ""
    for variant in _VARIANTS:
        command = [*compiler, *_FLAGS, *variant, str(SOURCES[0]), "-o", str(path), "-lm"]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{shlex.join(compiler)} failed: {error}"
        if done.returncode == 0:
            return "" if path.exists() else f"{shlex.join(compiler)} wrote no library"
        said = done.stderr.strip()
    return f"{shlex.join(compiler)} failed: {said[:500]}"
