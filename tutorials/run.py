"""Runs the tutorials that ``index.json`` lists. Run as ``make tutorials``.

Without options, runs them in full and writes back their outputs and figures, thumbnails, and how
long they took. With ``--quick``, or PYRO_UGMM_SMOKE=1 in the environment, runs them on fewer rows
and steps, as the tests do, and writes nothing. Names of notebooks may follow; all are run if there
are none.
"""

import argparse
import base64
import io
import json
import os
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
INDEX, THUMBNAILS = FOLDER / "index.json", FOLDER / "thumbnails"
PAGE = FOLDER / "README.md"
NAMES = tuple(f"{name}.ipynb" for name in json.loads(INDEX.read_text()))
QUICK = "PYRO_UGMM_SMOKE"
MOST_SECONDS = 600  # for one cell
MOST_BYTES = 1_000_000
THUMBNAIL = (360, 200)  # pixels, at most


def execute(name: str, *, quick: bool) -> nbformat.NotebookNode:
    """Runs a notebook in a kernel of its own, from top to bottom.

    Args:
        name: of its file.
        quick: whether it is to cut rows and steps, which it is told by a variable of the
            environment.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    notebook = nbformat.read(FOLDER / name, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=MOST_SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    # One thread: with more, sums are rounded in another order, and long runs end elsewhere.
    environment = os.environ | {QUICK: "1" if quick else "0", "OMP_NUM_THREADS": "1"}
    client.execute(env=environment)
    return notebook


def text_of(notebook: nbformat.NotebookNode) -> str:
    """The notebook as it is to be committed: without what differs from run to run.

    Raises:
        ValueError: if something was written to the error stream, or the file is too large.
    """
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise ValueError(f"a tutorial warns of nothing; this one says:\n{output['text']}")
    text = nbformat.writes(notebook) + "\n"
    if len(text) > MOST_BYTES:
        raise ValueError(f"a tutorial takes at most {MOST_BYTES:,} bytes, this one {len(text):,}")
    return text


def pictures_of(notebook: nbformat.NotebookNode) -> list[bytes]:
    """The first picture of each cell that has one."""
    found = []
    for cell in notebook.cells:
        data = [output.get("data", {}) for output in cell.get("outputs", [])]
        kinds = ("image/png", "image/jpeg")
        found += [one[kind] for one in data for kind in kinds if kind in one][:1]
    return [base64.b64decode(one) for one in found]


def note(name: str, notebook: nbformat.NotebookNode, seconds: float) -> None:
    """Writes a notebook's thumbnail, and in the index how long it took."""
    from PIL import Image

    index = json.loads(INDEX.read_text())
    index[name]["seconds"] = round(seconds)
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in index.items()]
    INDEX.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    picture = Image.open(io.BytesIO(pictures_of(notebook)[index[name]["picture"] - 1]))
    picture = picture.convert("RGB")
    picture.thumbnail(THUMBNAIL)
    THUMBNAILS.mkdir(exist_ok=True)
    picture.save(THUMBNAILS / f"{name}.png", optimize=True)
    PAGE.write_text(page(index))


def page(index: dict) -> str:
    """The list of tutorials, in Markdown."""
    lines = [
        "# Tutorials",
        "",
        "Each opens with a question, its answer and a picture, and is a notebook with its outputs.",
        "The time is that of a run on one core. `make tutorials` runs them again.",
        "",
        "| | | |",
        "|---|---|---|",
    ]
    for name, one in index.items():
        picture = f"![{one['question']}](thumbnails/{name}.png)"
        title = (
            nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells[0].source.splitlines()[0]
        )
        link = f"**[{title.removeprefix('# ')}]({name}.ipynb)**"
        minutes = f"{max(1, round(one['seconds'] / 60))} min" if one["seconds"] > 45 else "seconds"
        lines.append(f"| {picture} | {link}<br>{one['question']} | {minutes} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs those asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="files, such as 7_patches.ipynb; all by default")
    parser.add_argument("--quick", action="store_true", help="few rows and steps; writes nothing")
    options = parser.parse_args()
    quick = options.quick or os.environ.get(QUICK) == "1"
    for name in options.names or NAMES:
        started = time.perf_counter()
        notebook = execute(Path(name).name, quick=quick)
        if not quick:
            (FOLDER / Path(name).name).write_text(text_of(notebook))
            note(Path(name).stem, notebook, time.perf_counter() - started)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
