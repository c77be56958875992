"""Every public plot has a picture in the gallery and on its page, which is small."""

import re

import pytest

from pyro_ugmm import plots

from .documents import ROOT, python_blocks

DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="an installed package has no pages")


def pictures_of(page):
    return re.findall(r"!\[[^]]+\]\((?:\.\./)?images/(\w+)\.png\)", (DOCS / page).read_text())


@pytest.mark.parametrize("name", plots.__all__)
def test_it_is_in_the_gallery_and_on_its_page(name):
    gallery = (DOCS / "gallery.md").read_text()
    assert name in pictures_of("gallery.md") and f"](api/plots.md#{name})" in gallery
    page = (DOCS / "api/plots.md").read_text()
    section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
    assert f"images/{name}.png" in section and f"autofunction:: pyro_ugmm.plots.{name}\n" in section


def test_every_picture_is_drawn_by_the_block_before_it():
    text = (DOCS / "gallery.md").read_text()
    after_code = re.findall(r"^```\n\n!\[[^]]*\]\(images/(\w+)\.png\)", text, re.M)
    assert after_code == pictures_of("gallery.md")
    assert len(python_blocks(DOCS / "gallery.md")) == len(after_code)


def test_pictures_are_small():
    large = {
        path.name: path.stat().st_size
        for path in (DOCS / "images").iterdir()
        if path.stat().st_size > 120_000
    }
    assert not large
