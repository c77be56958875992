"""The pages' code runs, and what they name is there."""

import importlib
import re

import matplotlib
import matplotlib.pyplot as plt
import pytest

from .documents import ROOT, python_blocks, run

DOCS = ROOT / "docs"
PAGES = [
    page
    for page in sorted(DOCS.rglob("*.md"))
    if not {"_build", "tutorials"} & {*page.relative_to(DOCS).parts}
]
WITH_CODE = [page for page in PAGES if python_blocks(page)]
NAMES = [str(page.relative_to(DOCS)) for page in WITH_CODE]

pytestmark = pytest.mark.skipif(not PAGES, reason="an installed package has no pages")


@pytest.mark.filterwarnings("ignore")  # as a reader would run it
@pytest.mark.parametrize("page", WITH_CODE, ids=NAMES)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    scope: dict = {"__name__": "__main__"}
    try:
        for block in python_blocks(page):
            run(block, page, scope)
    finally:
        plt.close("all")


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS)) for page in PAGES])
def test_what_a_page_names_is_there(page):
    text = page.read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z][a-z-]*)", text):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link
    for included in re.findall(r"\{include\} (\S+)", text):
        assert (page.parent / included).exists(), included


def test_every_page_is_listed():
    listed = {
        (page.parent / name.strip()).resolve()
        for page in PAGES
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.S)
        for name in block.splitlines()
        if name and not name.startswith(":")
    }
    assert {page.with_suffix("").resolve() for page in PAGES} <= {DOCS / "index", *listed}


def test_every_measured_result_is_included():
    text = (DOCS / "benchmarks.md").read_text()
    results = [*ROOT.glob("benchmarks/results/*.md"), *ROOT.glob("validation/results/*.md")]
    assert results
    for result in results:
        assert f"{{include}} ../{result.relative_to(ROOT)}" in text, result


PUBLIC = sorted(
    set(re.findall(r"auto(?:class|function):: (\S+)", "\n".join(p.read_text() for p in PAGES)))
)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_in_the_reference_has_an_example(name):
    module, _, attribute = name.rpartition(".")
    assert ">>> " in getattr(importlib.import_module(module), attribute).__doc__
