"""The README's code runs and prints what stands below it, and what it names is there."""

import re

import matplotlib
import matplotlib.pyplot as plt
import pytest

from pyro_ugmm.diagnostics.arviz_interface import group_names

from .documents import ROOT, python_blocks, run

README = ROOT / "README.md"
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d*)?(?:e[-+]?\d+)?")

pytestmark = pytest.mark.skipif(not README.exists(), reason="an installed package has no README")


def masked(text):
    """The words, with numbers masked: what is sampled differs a little between processors."""
    return re.sub(r"\s+", " ", NUMBER.sub("0", text)).strip()


def test_the_code_runs_and_prints_what_the_page_shows(capsys):
    matplotlib.use("Agg")
    scopes, printed = [], []
    for block in python_blocks(README):
        scopes.append(run(block, README, {}))
        printed.append(capsys.readouterr().out)
    plt.close("all")
    shown = re.findall(
        r"^```python\n.*?^```\n\n```text\n(.*?)^```", README.read_text(), re.S | re.M
    )
    mixture, posterior, network, own = scopes
    assert mixture["result"].converged and posterior["sample"].converged
    assert {"posterior", "log_likelihood"} <= set(group_names(posterior["idata"]))
    assert network["probabilities"].shape == (500, 75, 3)
    assert own["idata"].posterior["theta"].dims == ("chain", "draw", "school")
    said = [masked(text) for text in printed]
    assert len(shown) == 3 and all(masked(text) in said for text in shown)


def test_numbers_are_masked():
    assert (
        masked("elpd -244.73 ± 21.41,\n in 1,000 rows at 7.5e-07") == "elpd 0 ± 0, in 0 rows at 0"
    )
    assert masked("converged") != masked("not converged")


def test_pictures_and_targets_are_there():
    text = README.read_text()
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert pictures
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert {*pictures} < {*links} and all((ROOT / link).exists() for link in links)
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z][a-z-]*)", text):
        assert re.search(rf"^{target}:", makefile, re.M), target
