"""The tutorials run from top to bottom, and all of them are listed."""

import importlib.util
import json
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "tutorials"
if not FOLDER.exists():
    pytest.skip("an installed package has no tutorials", allow_module_level=True)

spec = importlib.util.spec_from_file_location("tutorials_run", FOLDER / "run.py")
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)


def test_all_are_listed():
    assert sorted(run.NAMES) == sorted(path.name for path in FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("name", run.NAMES)
def test_runs(name):
    run.execute(name, quick=True)


@pytest.mark.parametrize("name", run.NAMES)
def test_is_committed_as_it_ran(name):
    """Every cell has run, in order, and left nothing that says when or where."""
    text = (FOLDER / name).read_text()
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert run.text_of(notebook) == text


def test_the_list_is_that_of_the_index():
    index = json.loads(run.INDEX.read_text())
    assert run.PAGE.read_text() == run.page(index)
    assert {f"{name}.png" for name in index} == {one.name for one in run.THUMBNAILS.iterdir()}
    assert max(one["seconds"] for one in index.values()) < 180
